"""A certificate that is renewed under its name."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from airboss.compose import certificates
from airboss.compose.certificates import renewing
from airboss.compose.parts import tls_context
from airboss.config.types import TlsConfig
from tests.support.certificates import Kind, self_signed
from tests.support.wait import until


@pytest.mark.parametrize(
    ("before", "after"), [("ec", "ec"), ("ec", "rsa"), ("rsa", "ec")], ids=["same", "to RSA", "to EC"]
)
def test_the_new_one_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Kind, after: Kind
) -> None:
    """Also where its key is of another kind; while the two files do not belong together, the one before."""
    monkeypatch.setattr(certificates, "LOOK_S", 0.02)
    cert, key = self_signed(tmp_path, before)
    (tmp_path / "new").mkdir()
    new_cert, new_key = self_signed(tmp_path / "new", after)
    old, new = cert.read_text(), new_cert.read_text()
    tls = TlsConfig(cert=str(cert), key=str(key))
    context = tls_context(tls)
    looked: list[TlsConfig] = []

    def look(tls: TlsConfig) -> ssl.SSLContext | None:
        looked.append(tls)
        return tls_context(tls)

    monkeypatch.setattr(certificates, "tls_context", look)

    def renew(place: tuple[str, int]) -> None:
        assert ssl.get_server_certificate(place, timeout=60) == old
        new_key.replace(key)
        until(lambda: looked)
        assert ssl.get_server_certificate(place, timeout=60) == old
        new_cert.replace(cert)
        until(lambda: ssl.get_server_certificate(place, timeout=60) == new)

    async def main() -> None:
        async with renewing(tls, context):
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
            async with server:
                place = server.sockets[0].getsockname()
                await asyncio.to_thread(renew, place)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
