"""What a worker serves from at one moment: built whole from a snapshot, then only read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from airboss.domain.errors import Unauthenticated, Unavailable
from airboss.domain.plan import DeploymentPlan, ServingPlan, Target
from airboss.domain.ports import Snapshot
from airboss.domain.request import Principal
from airboss.gateway.wire import unknown_model
from airboss.governance.keys import Keyring
from airboss.governance.redact import Redactor

SEEN_MAX = 4096

ProviderKey = Callable[[Target], str | None]
"""The key to send to a target's provider, None where it takes none. Raises Unavailable, saying what is
missing (`governance.secrets.provider_key`)."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable view; a request takes it once and keeps it to its end."""

    revision: int
    plan: ServingPlan
    by_name: Mapping[str, DeploymentPlan]
    keyring: Keyring
    redactor: Redactor
    secrets: Mapping[str, str]
    """A provider's secret by its reference."""
    missing: Mapping[str, Unavailable]
    """Why a reference could not be resolved."""
    seen: dict[tuple[bytes | None, bytes | None], Principal]
    """Whose credentials have been checked under this view, as they came; at most SEEN_MAX.

    Only good ones stand here. Finding one takes a time that depends on a hash keyed for this process, which
    says nothing of how near a guess came; and it spares the digest that `Keyring` makes.
    """

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Principal:
        """Who calls, by `authorization: Bearer` or `x-api-key`. Raises Unauthenticated."""
        presented = headers.get(b"authorization")
        other = headers.get(b"x-api-key")
        known = self.seen.get((presented, other))
        if known is not None:
            return known
        if presented is not None:
            scheme, _, secret = presented.partition(b" ")
            if scheme.lower() != b"bearer" or not secret:
                raise Unauthenticated("the authorization header is not 'Bearer <key>'; send it so")
        else:
            secret = other or b""
        if not secret.strip():
            raise Unauthenticated(
                "no API key was sent; send 'authorization: Bearer <key>' with the key `airboss up` printed"
            )
        principal = self.keyring.principal(secret.strip().decode("latin-1"))
        if principal is None:
            raise Unauthenticated(
                "this API key is not known here; use the one that `airboss up` printed as OPENAI_API_KEY"
            )
        if len(self.seen) < SEEN_MAX:
            self.seen[presented, other] = principal
        return principal

    def resolve(self, model: str, principal: Principal) -> DeploymentPlan:
        """The deployment that a model name means to this caller. Raises NotFound with the nearest names."""
        deployment = self.by_name.get(model)
        if deployment is None or not allowed(principal, deployment):
            raise unknown_model(model, self.names(principal))
        return deployment

    def names(self, principal: Principal) -> list[str]:
        """Every name, aliases included, that the caller may send as `model`."""
        return [name for name, deployment in self.by_name.items() if allowed(principal, deployment)]

    def secret(self, deployment: DeploymentPlan) -> str | None:
        """The provider's secret, or None where it takes none. Raises Unavailable if it is missing."""
        reference = deployment.target.api_key_ref
        if reference is None:
            return None
        if reference in self.missing:
            raise self.missing[reference]
        return self.secrets[reference]


def allowed(principal: Principal, deployment: DeploymentPlan) -> bool:
    """Whether the caller may use the deployment."""
    return principal.deployments is None or deployment.name in principal.deployments


def build_serving(snapshot: Snapshot, *, provider_key: ProviderKey, own_secrets: tuple[str, ...]) -> Serving:
    """Build the view. `own_secrets` are keys of ours that must never be recorded either."""
    by_name: dict[str, DeploymentPlan] = {}
    secrets: dict[str, str] = {}
    missing: dict[str, Unavailable] = {}
    for deployment in snapshot.plan.deployments:
        for name in (deployment.name, *deployment.aliases):
            by_name[name] = deployment
        reference = deployment.target.api_key_ref
        if reference is None:
            continue
        try:
            key = provider_key(deployment.target)
        except Unavailable as error:
            # One provider's missing key must not stop the others: the call that needs it says why.
            missing[reference] = error
        else:
            if key is not None:
                secrets[reference] = key
    return Serving(
        revision=snapshot.revision,
        plan=snapshot.plan,
        by_name=by_name,
        keyring=Keyring(snapshot.keys),
        redactor=Redactor([*secrets.values(), *own_secrets]),
        secrets=secrets,
        missing=missing,
        seen={},
    )
