"""A supervisor whose changes of state can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from airboss.domain.status import ProcessStatus
from airboss.supervisor.supervisor import Pace, Supervisor
from tests.supervisor.children import known

PACE = Pace(starting_s=0.02, ready_s=0.02, look_s=0.05)


class Watched:
    """A supervisor whose changes of state can be awaited."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.statuses: dict[str, ProcessStatus] = {}
        self._changed = asyncio.Event()
        self.supervisor = Supervisor(
            on_line=self._on_line,
            on_change=self._on_change,
            pace=PACE,
        )

    def _on_change(self, statuses: Mapping[str, ProcessStatus]) -> None:
        self.statuses = dict(statuses)
        self._changed.set()

    def _on_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._changed.set()

    def said(self, name: str) -> list[str]:
        """What a child has printed."""
        return [line for who, line in self.lines if who == name]

    async def until(self, condition: Callable[[dict[str, ProcessStatus]], object]) -> None:
        """Wait for a change, or a line, after which `condition` holds."""
        async with asyncio.timeout(90):
            while not condition(self.statuses):
                self._changed.clear()
                await self._changed.wait()


def supervised(scenario: Callable[[Watched], Awaitable[None]]) -> Watched:
    """Run a scenario beside a running supervisor, then stop everything."""

    async def main() -> Watched:
        watched = Watched()
        running = asyncio.create_task(watched.supervisor.run())
        acting = asyncio.ensure_future(scenario(watched))
        try:
            done, _ = await asyncio.wait({running, acting}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            running.cancel()
            acting.cancel()
            await asyncio.gather(running, acting, return_exceptions=True)
            pids = [each.pid for each in watched.supervisor.statuses().values() if each.pid is not None]
            await watched.supervisor.stop([])
            assert not any(known(pid) for pid in pids), "a stopped child is gone, and no zombie"
        return watched

    return asyncio.run(main())
