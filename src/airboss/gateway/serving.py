"""What a worker serves from at one moment: built whole from a snapshot, then only read."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from airboss.domain.errors import ApiError, NotFound, PermissionDenied, Unauthenticated, Unavailable
from airboss.domain.plan import Arm, DeploymentPlan, Named, Served, ServingPlan, Target
from airboss.domain.ports import ApiKey, Snapshot
from airboss.domain.release import Policy, Release
from airboss.domain.request import InferenceRequest, Principal
from airboss.gateway.misnamed import unknown_model
from airboss.gateway.outgoing import Translate, translation
from airboss.gateway.policies import of_keys, policies_of, prepare_policies, releases_of
from airboss.gateway.request_head import PEER
from airboss.gateway.wire import says_something
from airboss.governance.keys import Keyring, Policies
from airboss.governance.policies import asks_names
from airboss.governance.redact import Redactor
from airboss.governance.sources import Network, is_from
from airboss.releases.sharing import sharing
from airboss.releases.variant import Variant, reached, varied
from airboss.store.plan_source import KeptSnapshot

if TYPE_CHECKING:
    from airboss.gateway.asked import Cleaned
    from airboss.gateway.limits import Limiter
    from airboss.gateway.screened import CallScreen

SEEN_MAX = 4096
MODEL = b"x-airboss-model: "
"""Begins the line that tells which model of a spread has answered."""

ProviderKey = Callable[[Target], str | None]
"""The key to send to a target's provider, None where it takes none. Raises Unavailable, saying what is
missing (`governance.secrets.provider_key`)."""


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """What one call is served by: the arm that it was assigned to, its release and where that is reached."""

    arm: Arm
    release: Release
    target: Target
    headers: bytes
    """The lines of an answer that tell release, arm and plan (`told_by`)."""
    translate: Translate | None
    """How its calls are said in the target's dialect; None where that is OpenAI's."""
    plain: str | None
    """The upstream's name of the model, where a chat goes there as it is but for that name."""
    trial: bool
    """Whether it is not the stable release: what fails there says nothing of that."""
    tests: bool = False
    """Whether it is asked to find out whether its places answer: those that do are back for all."""
    others: tuple[Target, ...] = ()
    """Who is asked in turn where the target fails."""
    members: tuple[Branch, ...] = ()
    """Of a spread, before a model is drawn: one for each that shares its calls. Of what was drawn of one:
    those that are asked next."""
    whole: Target | None = None
    """The spread that it was drawn of."""

    @property
    def entire(self) -> Target:
        """All that share its calls: the spread that it was drawn of, else its target."""
        return self.whole or self.target


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """What some get of a deployment whatever is drawn; `keys` are also those of teams."""

    branch: Branch
    users: frozenset[str]
    keys: frozenset[str]
    tags: tuple[tuple[str, frozenset[str]], ...]

    def names(self, request: InferenceRequest) -> bool:
        """Whether this call is one of theirs."""
        if request.user in self.users or request.principal.key in self.keys:
            return True
        return any(request.tags.get(name) in values for name, values in self.tags)


def branch_of(plan: ServingPlan, arm: Arm, release: Release, target: Target) -> Branch:
    """The branch, with what its calls would each have to put together."""
    bare = Branch(
        arm=arm,
        release=release,
        target=target,
        headers=told_by(release, arm, plan.number),
        translate=None,
        plain=None,
        trial=arm not in {"stable", "never"},
    )
    return at_target(bare, release, target)


def _plain(release: Release, target: Target) -> str | None:
    other = target.kind == "local" or translation(release, target) is not None or says_something(release)
    return None if other or target.embeds or not target.tools else target.upstream_model


def told_by(release: Release, arm: Arm, plan: int) -> bytes:
    """The lines of an answer that tell what made it."""
    lines = f"x-airboss-release: {release.digest}\r\nx-airboss-arm: {arm}\r\nx-airboss-plan: {plan}\r\n"
    return lines.encode()


def with_variant(branch: Branch, variant: Variant, plan: int) -> Branch:
    """The branch with a variant of its release, of the plan of this number. Raises InvalidRequest."""
    release = varied(branch.release, variant)
    told = msgspec.structs.replace(branch, headers=told_by(release, branch.arm, plan))
    return at_target(told, release, reached(branch.target, variant))


def at_target(branch: Branch, release: Release, target: Target) -> Branch:
    """The branch as its calls are said of a release at a target, be that its own or not."""
    made = msgspec.structs.replace(
        branch,
        release=release,
        target=target,
        translate=translation(release, target),
        plain=_plain(release, target),
        others=target.fallbacks,
        members=(),
        whole=None,
    )
    if not target.shares:
        return made
    # The same objects where they are there: `places.of` remembers a target by which object it is.
    known = [each.target for each in branch.members] if target is branch.target else []
    alone = known or [msgspec.structs.replace(each, fallbacks=(), shares=()) for each in sharing(target)]
    return msgspec.structs.replace(made, members=tuple(_member(made, each) for each in alone))


def _member(branch: Branch, target: Target) -> Branch:
    """A spread's branch at one of its models, which its answers tell."""
    line = MODEL + f"{target.provider}/{target.upstream_model}\r\n".encode("ascii", "replace")
    return msgspec.structs.replace(
        at_target(branch, branch.release, target), headers=branch.headers + line, whole=branch.target
    )


def told_of(branch: Branch, other: Target) -> bytes:
    """The lines of an answer of `other`, which was asked where the branch's target had failed."""
    for each in branch.members:
        if each.target is other:
            return each.headers
    name = f"{other.provider}/{other.upstream_model}".encode("ascii", "replace")
    return b"%sx-airboss-fallback: %s\r\n" % (told_of_none(branch), name)


def told_of_none(branch: Branch) -> bytes:
    """The lines of an answer that none of a spread's models gave."""
    return branch.headers.partition(MODEL)[0]


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable view; a request takes it once and keeps it to its end."""

    revision: int
    plan: ServingPlan
    by_name: Mapping[str, DeploymentPlan]
    stable: Mapping[str, Branch]
    """The stable branch of each deployment, by the deployment's name."""
    canary: Mapping[str, Branch]
    """The canary of each deployment that has one."""
    apart: Mapping[str, tuple[Apart, ...]]
    """Those for whom nothing is drawn, of each deployment that names any: the first that names a call has
    it."""
    shadow: Mapping[str, Branch]
    """What is asked again beside each deployment that has such."""
    by_digest: Mapping[str, Branch]
    """Every release that our own calls may name."""
    keys: tuple[ApiKey, ...]
    of_keys: Mapping[str, Policies]
    """The policies of keys themselves, by the key's name."""
    keyring: Keyring
    kept_at: datetime | None = None
    """When the ledger had it last, of a plan that was kept on disk and that it has not said since."""
    redactor: Redactor
    secrets: Mapping[str, str]
    """A provider's secret by its reference."""
    missing: Mapping[str, Unavailable]
    """Why a reference could not be resolved."""
    admin_key: str
    """Good for nothing here, but whoever sends it is told so."""
    limiter: Limiter | None = None
    """None where nothing is limited."""
    asks_names: bool = False
    """Whether a policy looks for names, which takes a process of its own."""
    seen: dict[tuple[bytes | None, bytes | None], Principal]
    """Whose credentials have been checked under this view, as they came; at most SEEN_MAX.

    Only good ones stand here, of keys that are good from everywhere. Finding one takes a time that depends on
    a hash keyed for this process, which says nothing of how near a guess came; and it spares the digest that
    `Keyring` makes.
    """

    def hush(self, error: ApiError) -> None:
        """Take secrets out of what an error says: an upstream may say again what it was sent."""
        for name in ("message", "code", "param", "upstream_type"):
            if text := getattr(error, name, None):
                setattr(error, name, self.redactor.redact_text(text))

    def outdated(self, now: datetime) -> bool:
        """Whether a secret that this view accepts is good no more."""
        changes_at = self.keyring.changes_at
        return changes_at is not None and changes_at <= now

    def aged(self, now: datetime) -> Serving:
        """The same view without the secrets that are good no more by now."""
        return msgspec.structs.replace(
            self, keyring=Keyring(self.keys, now=now, policies=self.of_keys), seen={}
        )

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Who calls, by `authorization: Bearer` or `x-api-key`. Raises Unauthenticated, and PermissionDenied
        where their key is not good from where they call."""
        presented = headers.get(b"authorization")
        other = headers.get(b"x-api-key")
        known = self.seen.get((presented, other))
        if known is not None:
            return known
        secret = key_in(headers)
        if not secret:
            raise Unauthenticated(
                "no API key was sent; send 'authorization: Bearer <key>' with the key `airboss up` printed"
            )
        principal = self.keyring.principal(secret.decode("latin-1"))
        if principal is None:
            raise self._no_key(secret)
        allowed_from = self.keyring.sources(principal)
        if allowed_from is not None:  # who is bound so is never among `seen`
            check_source(principal, headers.get(PEER, b"").decode("latin-1"), allowed_from)
        elif len(self.seen) < SEEN_MAX:
            self.seen[presented, other] = principal
        return principal

    def _no_key(self, secret: bytes) -> ApiError:
        """What to say to a secret that is of no data-plane key, or of none any more."""
        if self.admin_key and hmac.compare_digest(secret, self.admin_key.encode()):
            return Unauthenticated(
                "this is the admin key, which is for the console and the `airboss` verbs; under /v1 use "
                "a data-plane key: the one that `airboss up` printed as OPENAI_API_KEY, or one that "
                "`airboss keys create NAME` makes"
            )
        person = self.keyring.console(secret.decode("latin-1"))
        if person is not None:
            return PermissionDenied(
                f"key {person.name!r} has the role {person.role} and opens the console; it calls no "
                "models: under /v1 use a data-plane key, which `airboss keys create NAME` makes without "
                "--role",
                code="console_key",
            )
        ended = self.keyring.expired(secret.decode("latin-1"))
        if ended is not None:
            return Unauthenticated(
                f"key {ended.name!r} expired at {ended.expires_at:%Y-%m-%d %H:%M} UTC; ask for another, "
                f"or `airboss keys set {ended.name} --expires 30d`",
                code="expired_api_key",
            )
        return Unauthenticated(
            "this API key is not known here; use the one that `airboss up` printed as OPENAI_API_KEY"
        )

    def resolve(self, model: str, principal: Principal) -> DeploymentPlan:
        """The deployment that a model name means to this caller. Raises NotFound with the nearest names."""
        deployment = self.by_name.get(model)
        only = principal.deployments
        if deployment is None or (only is not None and deployment.name not in only):
            raise unknown_model(model, self.names(principal))
        return deployment

    def policies(self, principal: Principal) -> tuple[Policy, ...]:
        """Its key's, and those of all that it may call: what it says of a call is under some of them."""
        mine = [each for each in self.plan.deployments if allowed(principal, each)]
        found = [release.policy for each in mine for release in releases_of(each)]
        found += [each.policy for each in mine]
        found += principal.policies or ()
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def names(self, principal: Principal) -> list[str]:
        """Every name, aliases included, that the caller may send as `model`."""
        return [name for name, deployment in self.by_name.items() if allowed(principal, deployment)]

    def named(self, digest: bytes, principal: Principal, variant: Variant | None, *, tests: bool) -> Branch:
        """The branch of a release, or of a variant of it, that a call names, and may be `tests` of. Raises
        PermissionDenied for keys other than our own, and NotFound for a release that is not served."""
        if not principal.internal:
            raise PermissionDenied(
                "x-airboss-release chooses a release, which an app's key may not; leave the header out"
            )
        branch = self.by_digest.get(digest.decode("latin-1"))
        if branch is None:
            raise NotFound(
                f"no release {digest[:80].decode('latin-1')!r} is served now; see `airboss release list`",
                code="release_not_found",
            )
        if tests:
            branch = msgspec.structs.replace(branch, tests=True)
        return branch if variant is None else with_variant(branch, variant, self.plan.number)

    def shadowed(self, deployment: DeploymentPlan) -> Branch:
        """The branch of what is asked again beside a deployment. Raises NotFound where there is none any
        more."""
        branch = self.shadow.get(deployment.name)
        if branch is None:
            raise NotFound(f"nothing is asked again beside {deployment.name!r} now", code="release_not_found")
        return branch

    def in_place_of(self, principal: Principal, key: bytes) -> Principal:
        """Who calls, under the policies of another key, in place of whose call this one is made. Raises
        NotFound where there is no such key any more."""
        name = unquote(key.decode("latin-1"))
        if all(each.name != name or each.revoked_at is not None for each in self.keys):
            raise NotFound(f"key {name!r} is not there any more", code="key_not_found")
        return msgspec.structs.replace(principal, policies=self.of_keys.get(name))

    def secret(self, reference: str | None) -> str | None:
        """The secret that a reference means, or None where none is needed. Raises Unavailable if it is
        missing."""
        if reference is None:
            return None
        if reference in self.missing:
            raise self.missing[reference]
        return self.secrets[reference]


def cleaned_by(serving: Serving, screen: CallScreen | None) -> Cleaned:
    """What cleans the names of errors of a call that is under this screen, if it is under any."""
    hush = serving.redactor.redact_text
    return hush if screen is None else lambda name: hush(screen.cleaned(name))


def check_source(principal: Principal, peer: str, networks: tuple[Network, ...]) -> None:
    """Raise PermissionDenied where a key is not good from an address. From where it is stays unsaid: whoever
    has it may have found it."""
    if not is_from(peer, networks):
        raise PermissionDenied(
            f"key {principal.key!r} is not good from {peer or 'where this came from'}: call from where it "
            f"is, or let it be good from there too, by `airboss keys set {principal.key} --from …`",
            code="address_not_allowed",
        )


def key_in(headers: Mapping[bytes, bytes]) -> bytes:
    """The key in `authorization: Bearer`, or in `x-api-key` where there is no such header; empty for none.
    Raises Unauthenticated for another scheme."""
    if b"authorization" not in headers:
        return headers.get(b"x-api-key", b"").strip()
    scheme, _, secret = headers[b"authorization"].partition(b" ")
    if scheme.lower() != b"bearer" or not secret:
        raise Unauthenticated("the authorization header is not 'Bearer <key>'; send it so")
    return secret.strip()


def is_screened(branch: Branch, deployment: DeploymentPlan, principal: Principal) -> bool:
    """Whether a call is under a policy: of its release, its deployment, its key or the key's team."""
    return bool(branch.release.policy or deployment.policy or principal.policies)


def allowed(principal: Principal, deployment: DeploymentPlan) -> bool:
    """Whether the caller may use the deployment."""
    return principal.deployments is None or deployment.name in principal.deployments


def apart_of(snapshot: Snapshot) -> dict[str, tuple[Apart, ...]]:
    """Whom each deployment names, in the order in which that counts."""
    found = {each.name: tuple(_apart(each, snapshot)) for each in snapshot.plan.deployments}
    return {name: each for name, each in found.items() if each}


def _apart(deployment: DeploymentPlan, snapshot: Snapshot) -> Iterator[Apart]:
    canary, preview = deployment.canary, deployment.preview
    # At a weight of 0 its gate has not passed.
    shown = canary.served if canary is not None and canary.weight > 0 else None
    stable = Served(release=deployment.stable, target=deployment.target)
    said: tuple[tuple[Arm, Named | None, Served | None], ...] = (
        ("never", deployment.never, stable if shown is not None or preview is not None else None),
        ("preview", preview, preview.served if preview is not None else None),
        ("always", deployment.always, shown),
    )
    for arm, named, served in said:
        if named is not None and served is not None:
            of_teams = [key.name for key in snapshot.keys if key.team in named.teams]
            yield Apart(
                branch=branch_of(snapshot.plan, arm, served.release, served.target),
                users=frozenset(named.users),
                keys=frozenset((*named.keys, *of_teams)),
                tags=tuple((name, frozenset(values)) for name, values in named.tags.items()),
            )


def shadows_of(plan: ServingPlan) -> dict[str, Branch]:
    """The branch of each deployment's shadow."""
    served = {each.name: each.shadow for each in plan.deployments if each.shadow is not None}
    return {name: branch_of(plan, "shadow", each.release, each.target) for name, each in served.items()}


def build_serving(
    snapshot: Snapshot,
    *,
    provider_key: ProviderKey,
    own_secrets: tuple[str, ...],
    admin_key: str = "",
    now: datetime | None = None,
) -> Serving:
    """Build the view. `own_secrets` are keys of ours that must never be recorded either. It holds until its
    keyring changes, if that ever does: it is `aged` then."""
    by_name: dict[str, DeploymentPlan] = {}
    secrets: dict[str, str] = {}
    missing: dict[str, Unavailable] = {}
    stable: dict[str, Branch] = {}
    canary: dict[str, Branch] = {}
    plan = snapshot.plan
    for deployment in plan.deployments:
        for name in (deployment.name, *deployment.aliases):
            by_name[name] = deployment
        stable[deployment.name] = branch_of(plan, "stable", deployment.stable, deployment.target)
        if deployment.canary is not None:
            served = deployment.canary.served
            canary[deployment.name] = branch_of(plan, "canary", served.release, served.target)
    prepare_policies(snapshot)
    by_digest: dict[str, Branch] = {}
    for served in plan.served():
        by_digest.setdefault(
            served.release.digest, branch_of(plan, "override", served.release, served.target)
        )
    for target in plan.targets():
        for reference in target.refs():
            try:
                key = provider_key(msgspec.structs.replace(target, api_key_ref=reference))
            except Unavailable as error:
                # One provider's missing key must not stop the others: the call that needs it says why.
                missing[reference] = error
            else:
                if key is not None:
                    secrets[reference] = key
    bound = of_keys(snapshot)
    # What a key's policies ask for must be known: one whose are not opens nothing.
    keys = tuple(key for key in snapshot.keys if not key.policies or key.name in bound)
    return Serving(
        revision=snapshot.revision,
        plan=plan,
        by_name=by_name,
        stable=stable,
        canary=canary,
        apart=apart_of(snapshot),
        shadow=shadows_of(plan),
        by_digest=by_digest,
        keys=keys,
        of_keys=bound,
        keyring=Keyring(keys, now=now, policies=bound),
        kept_at=snapshot.kept_at if isinstance(snapshot, KeptSnapshot) else None,
        redactor=Redactor([*secrets.values(), *own_secrets]),
        secrets=secrets,
        missing=missing,
        admin_key=admin_key,
        seen={},
        asks_names=any(map(asks_names, policies_of(snapshot))),
    )
