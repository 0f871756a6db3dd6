"""What `airboss doctor` says of TLS: whether it is needed, and the certificate that would be shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from airboss.cli.checks import Check, fail, ok, warn
from airboss.config import TlsConfig
from airboss.domain.errors import SetupError

LEFT = timedelta(days=14)
LEFT_PART = 4
"""A certificate is to be renewed by now with 14 days left, or, of a short one, a quarter of its time."""


def check_tls(tls: TlsConfig | None, host: str, now: datetime) -> Iterator[Check]:
    """The certificate of `[tls]`, and without one whether `host` is to be listened on so."""
    from airboss.supervisor.listen import is_loopback  # noqa: PLC0415 - sockets only where they are asked for

    if tls is not None:
        yield _certificate(tls, now)
    elif not is_loopback(host):
        yield warn(
            "tls",
            f"{host} is beyond this machine, and there is no [tls]",
            "add [tls] cert and key, or, behind a proxy that ends TLS, start with --insecure",
        )


def _certificate(tls: TlsConfig, now: datetime) -> Check:
    from cryptography import x509  # noqa: PLC0415 - only who has a certificate

    from airboss.compose.parts import tls_context  # noqa: PLC0415 - as above

    try:
        tls_context(tls)
        shown = x509.load_pem_x509_certificates(Path(tls.cert).read_bytes())[0]
    except (SetupError, ValueError) as error:
        return fail("tls", str(error), "put the right files there, both in PEM")
    begins, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    renew = "renew it under the same names: it is shown seconds later, without a new start"
    if now > ends:
        return fail("tls", f"{tls.cert} ended on {ends:%Y-%m-%d %H:%M} UTC", renew)
    if now < begins:
        seen = f"{tls.cert} begins on {begins:%Y-%m-%d %H:%M} UTC"
        return fail("tls", seen, "put one there that is good by now, or set this machine's clock")
    seen = f"{tls.cert} is good until {ends:%Y-%m-%d %H:%M} UTC"
    if ends - now < min(LEFT, (ends - begins) / LEFT_PART):
        return warn("tls", seen, renew)
    return ok("tls", seen)
