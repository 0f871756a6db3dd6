"""What `airboss doctor` looks at of who knows the people that sign in: the client's secret and, if it may
ask, what the provider publishes."""

from __future__ import annotations

from collections.abc import Iterator

from airboss.cli.checks import Check, fail, ok, warn
from airboss.config import OidcConfig
from airboss.domain.errors import SetupError

NAME = "sign-in"


def check_oidc(oidc: OidcConfig | None, *, online: bool) -> Iterator[Check]:
    """Of `[oidc]`, if there is one."""
    if oidc is None:
        return
    from airboss.compose.desk import identity  # noqa: PLC0415 - only who signs in so
    from airboss.compose.watching import secret  # noqa: PLC0415 - as above
    from airboss.governance.sign_in import Refused  # noqa: PLC0415 - as above

    if oidc.client_secret is not None:
        try:
            secret(oidc.client_secret)
        except SetupError as error:
            yield warn(
                NAME, f"oidc.client_secret: {error}", "set it where `airboss up` runs; this is this shell"
            )
    if not online:
        return
    try:
        identity().login_url(oidc, redirect_uri="", state="", nonce="", verifier="")
    except Refused as error:
        yield fail(NAME, str(error), "mend [oidc] issuer, or the way there; keys open the console meanwhile")
    else:
        yield ok(NAME, f"{oidc.issuer} publishes where people sign in")
