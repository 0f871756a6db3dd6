"""The rules of `[oidc]`: where people who open the console are known."""

from __future__ import annotations

import re
from typing import Final

from airboss.config.rules import check_secret, on_this_machine, web_address
from airboss.config.types import OidcConfig
from airboss.config.wording import Path, Wrong, dotted, quoted

ROLES_MAX: Final = 500
TEXT_MAX: Final = 255
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")  # RFC 6749, 3.3


def check_oidc(oidc: OidcConfig | None, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    if oidc is None:
        return
    path = ("oidc",)
    for field in ("issuer", "url"):
        _check_address((*path, field), getattr(oidc, field), wrong)
    for field in ("client_id", "claim", "label"):
        value, at = getattr(oidc, field), (*path, field)
        if value is not None and not (value.isprintable() and 0 < len(value.strip()) <= TEXT_MAX):
            raise wrong(at, f"{dotted(at)} is {quoted(value)}; expected 1 to {TEXT_MAX} characters")
    if oidc.client_secret is not None:
        check_secret((*path, "client_secret"), oidc.client_secret, wrong)
    for scope in oidc.scopes:
        if not _SCOPE.fullmatch(scope):
            at = (*path, "scopes")
            raise wrong(at, f"{dotted(at)} has {quoted(scope)}, which is no scope; name one a text")
    if not 1 <= len(oidc.roles) <= ROLES_MAX:
        at = (*path, "roles")
        raise wrong(
            at,
            f"{dotted(at)} has {len(oidc.roles)} entries; give 1 to {ROLES_MAX}, such as "
            f'{{ ml-team = "operator" }}, for who has "ml-team" in the claim {quoted(oidc.claim)}',
        )


def _check_address(at: Path, value: str | None, wrong: Wrong) -> None:
    if value is None:
        return
    if not _is_address(value):
        raise wrong(at, f'{dotted(at)} is {quoted(value)}; write "https://HOST", and a path where it has one')
    if value.startswith("http:") and not on_this_machine(value):
        told = f"{dotted(at)} is {quoted(value)}, plain http: who listens in could sign in; use https"
        raise wrong(at, told)


def _is_address(value: str) -> bool:
    """Whether this is a URL that a path can be put behind."""
    parts = web_address(value)
    told = value.isascii() and value.isprintable() and not re.search(r"[\s?#]", value)
    return told and parts is not None and not (parts.username or parts.password)
