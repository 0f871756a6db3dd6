"""A certificate that is renewed under its name, as cert-manager does it, is shown without a new start."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from airboss.compose.parts import tls_context
from airboss.config import TlsConfig
from airboss.domain.errors import SetupError

LOOK_S: Final = 5.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def renewing(tls: TlsConfig | None, context: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Until the end of the block who connects to `context` is shown what the files of `tls` hold, seconds
    after they change.

    Files that do not belong together are told of, and what was shown is shown on: one of them may come later.
    """
    if tls is None or context is None:
        yield
        return
    looking = asyncio.create_task(_look(tls, context), name="certificates")
    try:
        yield
    finally:
        looking.cancel()


async def _look(tls: TlsConfig, context: ssl.SSLContext) -> None:
    seen = told = _state(tls)
    while True:
        await asyncio.sleep(LOOK_S)
        found = _state(tls)
        if found == seen:
            continue
        try:
            _show(context, tls_context(tls))
        except (SetupError, OSError) as error:  # tried again: files or their system may be well in a moment
            if found != told:
                told = found
                log.warning("the certificate stays as it was: %s", error)
        else:
            seen = told = found
            log.info("the certificate in %s has been renewed", tls.cert)


def _show(context: ssl.SSLContext, renewed: ssl.SSLContext | None) -> None:
    """Have who connects from now on shown the other context's certificate. Loaded into the same context it
    would stand beside an older one whose key is of another kind, RSA and EC say, which is shown on."""

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if renewed is not None:
            connection.context = renewed

    context.sni_callback = choose


def _state(tls: TlsConfig) -> tuple[object, ...]:
    """Changes when a file does, also where it is a link to another one by then."""
    return tuple(_of(Path(file)) for file in (tls.cert, tls.key))


def _of(file: Path) -> object:
    try:
        said = file.stat()
    except OSError:
        return None
    return said.st_ino, said.st_mtime_ns, said.st_size
