"""Following the record log, page by page, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable, WrongCall

POLL_S: Final = 1.0
log = logging.getLogger(__name__)


async def follow(tick: Callable[[], Awaitable[bool]], undone: str) -> NoReturn:
    """Do `tick` until cancelled, at once again where it says that there may be more. A store or ledger that
    fails is asked again; `undone` says in the log what was not done."""
    while True:
        more = False
        try:
            more = await tick()
        except StoreUnavailable as error:
            log.debug("%s: %s", undone, error)
        except (SetupError, ConfigError) as error:  # a ledger that is away, and such
            log.warning("%s; trying again: %s", undone, error)
        except (WrongCall, ValueError):
            log.exception("%s; trying again", undone)
        if not more:
            await asyncio.sleep(POLL_S)
