"""What scorers of recorded calls may be called: a name means one scorer, and no alarm or rollout goes by it.

A name is taken by the job that first makes scores under it: not by one that was cancelled or broke before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, Protocol

import msgspec

from airboss.config import Config
from airboss.domain.errors import WrongCall
from airboss.evaluations.online import specs_of
from airboss.evaluations.paid_once import Asking
from airboss.evaluations.scorers.spec import Spec
from airboss.store.job_rows import JobStore

SCORE: Final = "score:"


class Notes(Protocol):
    """Where it is kept which job a name is of."""

    def cursor(self, name: str) -> str | None:
        """What was kept under this name."""

    def put_cursor(self, name: str, value: str | None) -> None:
        """Keep it."""


class _Scorers(msgspec.Struct, frozen=True):
    """Of a job's `spec`."""

    scorers: tuple[Spec, ...]


class ScorerNames:
    """Who may use which name. `in_force` is the configuration. Any thread may ask; jobs that share a name
    must share this, too."""

    def __init__(self, *, jobs: JobStore, notes: Notes, in_force: Callable[[], Config]) -> None:
        self._jobs = jobs
        self._notes = notes
        self._in_force = in_force
        self._asking = Asking()

    def check(self, scorers: Sequence[Spec]) -> None:
        """Raises WrongCall for a name that alarms or rollouts go by, as a draw of chosen calls would mislead
        them, and for one that means another scorer: a mean of two would be of neither."""
        watched = dict(_watched(self._in_force()))
        for spec in scorers:
            job_id = self._notes.cursor(_note(spec.name))
            job = self._jobs.get(job_id) if job_id is not None else None
            why = watched.get(spec.name)
            if why is None and job is not None and spec not in _of(job.spec):
                why = f"it had other settings in {job.id}, whose scores stand under it"
            if why is not None:
                raise WrongCall(
                    f"the scorer cannot be called {spec.name!r}: {why}; give it another name, such as "
                    f"{spec.name + '-2'!r} (NAME=KIND:…, or `name` of a table)"
                )

    @asynccontextmanager
    async def held(
        self, scorers: Sequence[Spec], job_id: str, waits: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[None]:
        """From now on these names mean these scorers, and until the end of the block no other job uses one of
        them; `waits` hears which name another job has. Raises WrongCall as `check`."""
        async with AsyncExitStack() as turns:
            for name in sorted(spec.name for spec in scorers):
                await turns.enter_async_context(self._asking.alone(name, partial(waits, name)))
            await asyncio.to_thread(self._take, scorers, job_id)
            yield

    def _take(self, scorers: Sequence[Spec], job_id: str) -> None:
        self.check(scorers)
        for spec in scorers:
            if self._notes.cursor(_note(spec.name)) is None:
                self._notes.put_cursor(_note(spec.name), job_id)


def _note(name: str) -> str:
    return f"scorer {name}"


def _of(spec: msgspec.Raw) -> tuple[Spec, ...]:
    return msgspec.json.decode(spec, type=_Scorers).scorers


def _watched(config: Config) -> Iterator[tuple[str, str]]:
    """Every name that alarms or rollouts go by, with what it is there."""
    for name, alarm in config.alarms.items():
        if alarm.metric is not None and alarm.metric.startswith(SCORE):
            yield alarm.metric.removeprefix(SCORE), f"the alarm {name!r} goes by it"
    for name, each in config.deployments.items():
        for metric in each.rollout.metrics if each.rollout is not None else ():
            if metric.startswith(SCORE):
                yield metric.removeprefix(SCORE), f"rollouts of {name!r} go by it"
        for spec in specs_of(each.scoring) if each.scoring is not None else ():
            why = f"live calls of {name!r} are scored under it, which alarms and rollouts go by"
            yield spec.name, why
