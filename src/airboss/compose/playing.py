"""The playground's calls: over the running gateway with our own key, as evaluations make them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from airboss.compose.evals import caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airboss.console.plays import Plays
    from airboss.domain.ports import Ledger
    from airboss.evaluations.ports import Answer, Call, Caller
    from airboss.store.datadir import DataDir


def plays(ledger: Ledger, data: DataDir) -> Plays:
    """Plays at the gateway of this data directory."""
    from airboss.console.plays import Plays  # noqa: PLC0415 - evaluations, where needed

    def ask(calls: Sequence[Call]) -> Sequence[Answer]:
        async def main() -> Sequence[Answer]:
            async with aclosing(caller(ledger, data)) as asking:
                return await asyncio.gather(*(bounded(asking, each) for each in calls))

        return asyncio.run(main())

    return Plays(ask)


async def bounded(asking: Caller, call: Call) -> Answer:
    """One answer, or that there was none in time."""
    from airboss.console.plays import ASK_S  # noqa: PLC0415 - as above
    from airboss.evaluations.ports import Answer  # noqa: PLC0415 - as above

    try:
        async with asyncio.timeout(ASK_S):
            return await asking.call(call)
    except TimeoutError:
        return Answer(error=f"no answer within {ASK_S:.0f} s", latency_ms=1000 * ASK_S)
