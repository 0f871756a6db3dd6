"""Keys of the data plane and of the console: how they are made, kept and checked."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from airboss.config import Config, KeyConfig
from airboss.config.types import NO_PERSON, Role
from airboss.domain.errors import WrongCall
from airboss.domain.plan import Allowance, Budget, Limits, Priority
from airboss.domain.ports import ApiKey
from airboss.domain.release import Policy
from airboss.domain.request import Principal
from airboss.governance.sources import Network, networks

KEY_PREFIX = "ab_"
"""Our keys begin so: providers refuse such a key, and redaction knows one by its shape."""

GRACE_S_MAX = 30 * 86_400
"""The longest that the secret before a rotation stays good."""

EXPIRES_MAX = timedelta(days=36_500)

HANDS_MAX = 100
"""Of a key: by so many others it may come from the admin key."""

Policies = tuple[Policy, ...]
"""Those that bind the calls of one key."""

_DUMMY = bytes(32)


def new_key() -> str:
    """A fresh secret: `ab_` and 43 URL-safe characters that carry 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_key(secret: str) -> str:
    """How a key is kept: the sha256 of its UTF-8 bytes, in hex. Any str has one."""
    return _digest(secret).hex()


def same_secret(presented: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that says nothing of how far they agree (the admin key)."""
    return hmac.compare_digest(_digest(presented), _digest(expected))


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is made for. `deployments` None: every one. `expires_at` None: it does not end by itself.
    With a `role` it opens the console, and the rest but `expires_at` is as here. `sources` None: it is good
    from everywhere."""

    deployments: tuple[str, ...] | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    each_user: Allowance | None = None
    team: str | None = None
    priority: Priority = "normal"
    expires_at: datetime | None = None
    role: Role | None = None
    sources: tuple[str, ...] | None = None
    policy: str | None = None


def made(
    before: ApiKey | None,
    name: str,
    secret: str,
    *,
    terms: Terms,
    now: datetime,
    hands: tuple[str, ...] = (),
) -> ApiKey:
    """A new key, shown to `hands` (`Caller.hands`). A name that is in use is not given twice; that of a
    revoked key may be, but not what was kept for that one. Raises WrongCall."""
    if before is not None and before.revoked_at is None:
        raise WrongCall(
            f"there is a key {name!r} already, of {before.created_at:%Y-%m-%d}; `airboss keys rotate {name}` "
            "gives it another secret, or choose another name"
        )
    owner = f"{name} {now.isoformat()}" if before is not None else None  # no name has a blank
    fresh = ApiKey(
        name=name, sha256=hash_key(secret), created_at=now, owner=owner, hands=in_hands(name, hands)
    )
    key = followed(before, fresh)
    if terms.role is not None:
        if name in NO_PERSON:
            raise WrongCall(f"{name!r} is nobody's name in the audit log; use another for a key with a role")
        # No deployment: a gateway of an earlier version, which knows no roles, lets it call nothing either.
        key = msgspec.structs.replace(key, role=terms.role, deployments=())
    return with_terms(key, terms, now=now)


def in_hands(name: str, hands: Iterable[str]) -> tuple[str, ...]:
    """Each once. Raises WrongCall where they are too many."""
    found = tuple(dict.fromkeys(hands))
    if len(found) > HANDS_MAX:
        raise WrongCall(
            f"key {name!r} would come from {len(found):,} others, each made by another, at most {HANDS_MAX} "
            "are kept; make it with the admin key"
        )
    return found


def followed(before: ApiKey | None, key: ApiKey) -> ApiKey:
    """A key that takes the place of one of its name. Spend goes by names, so that it is in the same team
    until `bound` says otherwise."""
    return key if before is None else msgspec.structs.replace(key, team=before.team, left=before.left)


def terms_of(key: ApiKey) -> Terms:
    """What a key was made for, or has been told since."""
    return Terms(
        deployments=key.given,
        limits=key.given_limits,
        budget=key.given_budget,
        each_user=key.given_each_user,
        team=key.given_team,
        priority=key.given_priority,
        expires_at=key.expires_at,
        sources=key.sources,
        policy=key.given_policy,
    )


def with_terms(key: ApiKey, terms: Terms, *, now: datetime) -> ApiKey:
    """The key made for something else; `bound` says what then holds. Raises WrongCall for an end that is
    past, or so far that not every zone has a name for it."""
    if terms.expires_at is not None and terms.expires_at != key.expires_at:
        if terms.expires_at <= now:
            raise WrongCall(f"a key cannot end at {terms.expires_at:%Y-%m-%d %H:%M} UTC, which is past")
        if terms.expires_at - now > EXPIRES_MAX:
            raise WrongCall(
                f"a key cannot end in {terms.expires_at.year}: give a time within {EXPIRES_MAX.days:,} days, "
                "or none for a key that does not end"
            )
    return msgspec.structs.replace(
        key,
        given=() if key.role is not None else terms.deployments,
        given_limits=terms.limits,
        given_budget=terms.budget,
        given_each_user=terms.each_user,
        given_team=terms.team,
        given_priority=terms.priority,
        expires_at=terms.expires_at,
        sources=terms.sources,
        given_policy=terms.policy,
    )


def with_role(key: ApiKey, role: Role | None) -> ApiKey:
    """The console key with another role. Raises WrongCall where that would make it one of the other kind:
    what has its secret was given it for something else."""
    if (key.role is None) != (role is None):
        fixed = "a data-plane key and can have no role"
        if key.role is not None:
            fixed = "a console key and keeps its role or gets another"
        raise WrongCall(f"{key.name!r} is {fixed}; make another key: `airboss keys create NAME`")
    return msgspec.structs.replace(key, role=role)


def living(key: ApiKey | None, name: str) -> ApiKey:
    """The key, which is there, not revoked, and not our own. Raises WrongCall."""
    if key is None or key.revoked_at is not None:
        what = "is revoked" if key is not None else "is not there"
        raise WrongCall(f"key {name!r} {what}; `airboss keys list` shows all")
    if key.internal:
        raise WrongCall(f"key {name!r} is Airboss's own, for evaluations and probes; it is left alone")
    return key


def rotated(
    before: ApiKey | None,
    name: str,
    secret: str,
    *,
    grace_s: float,
    now: datetime,
    hands: tuple[str, ...] = (),
) -> ApiKey:
    """The key with another secret, shown to `hands`; the one it had stays good for `grace_s` seconds, not at
    all for 0. One that was still good from an earlier rotation ends now. Raises WrongCall where there is no
    such key."""
    key = living(before, name)
    if key.expires_at is not None and key.expires_at <= now:
        raise WrongCall(
            f"key {name!r} expired at {key.expires_at:%Y-%m-%d %H:%M} UTC; `airboss keys set {name} "
            "--expires 30d` lets its secret live on, and then it can be rotated"
        )
    if not 0 <= grace_s <= GRACE_S_MAX:
        raise WrongCall(f"a grace of {grace_s:,.0f} s is not offered; give 0 to {GRACE_S_MAX:,} s (30 days)")
    return msgspec.structs.replace(
        key,
        sha256=hash_key(secret),
        previous_sha256=key.sha256 if grace_s else None,
        previous_until=now + timedelta(seconds=grace_s) if grace_s else None,
        hands=in_hands(name, (*hands, *(key.hands if grace_s else ()))),
    )


def revoked(before: ApiKey | None, name: str, *, now: datetime) -> ApiKey:
    """The key, good for nothing from now on, nor its secret from before a rotation. Raises WrongCall where
    there is no such key."""
    return msgspec.structs.replace(
        living(before, name), revoked_at=now, previous_sha256=None, previous_until=None
    )


def bound(key: ApiKey, config: Config) -> ApiKey:
    """The key with what `[keys.NAME]` says of it: what that leaves open is as the key was made, but for the
    role, which stays as it was last. Its team's policy binds it beside its own."""
    named = config.keys.get(key.name) or KeyConfig()
    team = named.team or key.given_team if key.role is None else None
    if key.team not in (None, team):
        left = {**key.left, key.team: key.left.get(key.team, 0) + 1}
        key = msgspec.structs.replace(key, left=left)
    if key.role is not None:
        return msgspec.structs.replace(key, role=named.role or key.role, team=None)
    of_team = config.teams[team].policy if team in config.teams else None
    policies = (own_policy(key, config), of_team)
    return msgspec.structs.replace(
        key,
        deployments=key.given if named.deployments is None else named.deployments,
        limits=named.limits or key.given_limits,
        budget=named.budget or key.given_budget,
        each_user=named.each_user or key.given_each_user,
        team=team,
        priority=named.priority or key.given_priority,
        policies=tuple(dict.fromkeys(each for each in policies if each is not None)),
    )


def own_policy(key: ApiKey, config: Config) -> str | None:
    """The policy that binds a key's calls whatever its team; None: none does."""
    named = config.keys.get(key.name)
    return (named.policy if named is not None else None) or key.given_policy


class Keyring:
    """The keys of one snapshot, ready to be asked on every request.

    A lookup takes a time that depends on the sha256 of what was presented, never on the secrets kept: the
    table is keyed by digests, and who guesses cannot steer the digest of his guess towards a kept one without
    already breaking sha256. The comparison at the end is constant-time all the same, and is also made where
    nothing was found. What the time does show is the length of the presented text, which its sender knows.

    Keys with a role call nothing: they are found by `console` alone.

    Where two keys have the same secret, the one that comes first is meant. Revoked and expired keys are left
    out, and so are secrets from before a rotation that are not good any more at `now`: make another ring at
    `changes_at`. `policies` bind the calls of keys, by their names.
    """

    def __init__(
        self, keys: Iterable[ApiKey], *, now: datetime | None = None, policies: Mapping[str, Policies] = {}
    ) -> None:
        self._by_digest: dict[bytes, tuple[bytes, Principal]] = {}
        self._expired: dict[bytes, ApiKey] = {}
        self._console: dict[bytes, ApiKey] = {}
        self._sources: dict[str, tuple[Network, ...]] = {}
        self.changes_at: datetime | None = None
        """When the next secret stops being good; None: none does."""
        for key in keys:
            if key.revoked_at is not None:
                continue
            if key.expires_at is not None and now is not None:
                if key.expires_at <= now:
                    self._expired[bytes.fromhex(key.sha256)] = key
                    continue
                self._change(key.expires_at)
            hashes = [each for each in (key.sha256, self._previous(key, now)) if each is not None]
            if key.role is not None:
                self._console |= {bytes.fromhex(sha256): key for sha256 in hashes}
                continue
            if key.sources is not None:
                self._sources[key.name] = networks(key.sources)
            deployments = None if key.deployments is None else frozenset(key.deployments)
            principal = Principal(
                key=key.name,
                deployments=deployments,
                internal=key.internal,
                # Our own evaluations and probes wait behind everybody.
                priority="low" if key.internal else key.priority,
                owner=key.owner,
                policies=policies.get(key.name),
            )
            for sha256 in hashes:
                kept = bytes.fromhex(sha256)
                self._by_digest.setdefault(kept, (kept, principal))

    def _previous(self, key: ApiKey, now: datetime | None) -> str | None:
        until = key.previous_until
        if until is None or now is None or until <= now:
            return None
        self._change(until)
        return key.previous_sha256

    def _change(self, at: datetime) -> None:
        self.changes_at = at if self.changes_at is None else min(self.changes_at, at)

    def __len__(self) -> int:
        return len(self._by_digest)

    def principal(self, presented: str) -> Principal | None:
        """Who presents this secret, or None if nobody we know."""
        seen = _digest(presented)
        kept, principal = self._by_digest.get(seen, (_DUMMY, None))
        return principal if hmac.compare_digest(seen, kept) else None

    def sources(self, principal: Principal) -> tuple[Network, ...] | None:
        """The networks that their key is good from alone; None: it is from everywhere."""
        return self._sources.get(principal.key)

    def console(self, presented: str) -> ApiKey | None:
        """The console key whose secret this is, if it is one. Two that hash alike are the same text, so that
        there is nothing left to compare."""
        return self._console.get(_digest(presented))

    def expired(self, presented: str) -> ApiKey | None:
        """The key whose secret this was, if it has expired."""
        return self._expired.get(_digest(presented))


def _digest(secret: str) -> bytes:
    # A header may hold anything, so lone surrogates must have a digest too.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
