"""Keeps a wanted set of processes running. One task owns all state and handles events in order."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from airboss.domain.errors import SetupError
from airboss.domain.status import ProcessState, ProcessStatus
from airboss.supervisor.lifeline import Lifeline
from airboss.supervisor.process import Child, Command, OnLine
from airboss.supervisor.procfs import cpu_s, held_up
from airboss.supervisor.restart import LONGEST_DELAY_S, USELESS_CODE, History, Life, after
from airboss.supervisor.silence import LOOK_S, LOOKS_MAX, Silence, looked

log = logging.getLogger(__name__)

Health = Literal["ok", "failed", "busy"]
"""What a probe saw. `busy`: it did not answer in time, and is visibly at work."""

Probe = Callable[[int], Awaitable[Health]]
"""Asks the process with this id how it is; bounded in time, never raises."""

UNHEALTHY_CHECKS = 3
IDLE_S = 0.5
WORDS_CHARS_MAX = 400


class StartFailed(SetupError):
    """A process of ours ended again and again before it was ready; the message has its last words."""

    exit_code = 1


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between probes of a process that is starting, and of one that is ready and watched, and between
    looks whether one that tells has told."""

    starting_s: float = 0.1
    ready_s: float = 5.0
    look_s: float = LOOK_S


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One process that should run.

    `probe` says when it is ready, asked once a command that tells has told; with `watch` it is asked from
    then on too, and restarted after three failures in a row. One that tells is restarted when it falls silent
    after that. `grace_s` is how long it may take to stop. Another command under the same name replaces
    the process.
    One that gets ready and ends, however often, is started again after `delay_s_max` at most.
    One that `may_fail` is left alone, `failed`, when it does not get ready five times in a row, or exits with
    USELESS_CODE before. If it is `essential` too, that ends the start of everything, as it does without.
    """

    command: Command
    probe: Probe
    watch: bool = False
    grace_s: float = 10.0
    delay_s_max: float = LONGEST_DELAY_S
    may_fail: bool = False
    essential: bool = True

    @property
    def name(self) -> str:
        """The command's name."""
        return self.command.name


class _Exited(msgspec.Struct, frozen=True):
    """The child is gone."""

    name: str
    child: object
    code: int


class _Probed(msgspec.Struct, frozen=True):
    """A probe of the child came back."""

    name: str
    child: object
    health: Health


class _Hangs(msgspec.Struct, frozen=True):
    """The child has been silent for long."""

    name: str
    child: object


_Event = _Exited | _Probed | _Hangs | None


class _Process:
    """What the owner task knows about one process."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.child: Child | None = None
        self.history = History()
        self.state: ProcessState = "starting"
        self.since = datetime.now(UTC)
        self.detail: str | None = None
        self.start_at = 0.0
        self.started_at = 0.0
        self.ready_at: float | None = None
        self.failed_checks = 0
        self.kill_at: float | None = None
        self.killed_for: str | None = None
        self.tail: tuple[str, ...] = ()

    def enter(self, state: ProcessState, detail: str | None = None) -> None:
        self.state, self.detail, self.since = state, detail, datetime.now(UTC)

    def status(self) -> ProcessStatus:
        return ProcessStatus(
            name=self.spec.name,
            state=self.state,
            restarts=self.history.restarts,
            since=self.since,
            pid=self.child.pid if self.child is not None else None,
            detail=self.detail,
        )


class Supervisor:
    """Runs what `want` was last given. `on_change` is called in the event loop after each change of state."""

    def __init__(
        self,
        *,
        on_line: OnLine,
        on_change: Callable[[Mapping[str, ProcessStatus]], None],
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self._on_line = on_line
        self._pace = pace
        self._on_change = on_change
        self._lifeline = Lifeline()
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._wanted: dict[str, Spec] = {}
        self._processes: dict[str, _Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._reported: dict[str, ProcessStatus] = {}
        self._forgiving = False

    def want(self, specs: Iterable[Spec]) -> None:
        """These shall run and no others; what changed is replaced."""
        self._wanted = {spec.name: spec for spec in specs}
        self._events.put_nowait(None)

    def statuses(self) -> dict[str, ProcessStatus]:
        """How each process stands, by name."""
        return {name: process.status() for name, process in self._processes.items()}

    async def run(self) -> None:
        """Keep what is wanted running until cancelled; children go on then, until `stop`.

        Raises StartFailed with its last lines when an essential process fails five times in a row before ever
        being ready, unless `until_ready` has returned once: from then on there is something to keep.
        """
        while True:
            await self._reconcile()
            self._report()
            try:
                async with asyncio.timeout(self._pause_s()):
                    self._handle(await self._events.get())
            except TimeoutError:
                continue

    async def until_ready(self) -> None:
        """Wait until all that is wanted is ready, or has failed and may. Needs `run` to be running."""
        while not self._all_ready():
            self._changed.clear()
            await self._changed.wait()
        self._forgiving = True

    async def stop(self, phases: Iterable[Callable[[str], bool]]) -> None:
        """End everything, phase by phase: first what the first predicate says of the name, then the second...

        What no phase names ends last. `run` must not be running any more.
        """
        self._forgiving = True
        for process in self._processes.values():
            # The last records are moved by who gives way, and kept by who does so most: on a busy machine a
            # fifth of a second of work took longer than their grace.
            if process.child is not None:
                process.child.hurry()
        for phase in [*phases, everything]:
            chosen = [process for name, process in self._processes.items() if phase(name)]
            for process in chosen:
                self._end(process)
            while any(process.child is not None for process in chosen):
                self._kill_overdue()
                self._report()
                try:
                    async with asyncio.timeout(0.1):
                        self._handle(await self._events.get())
                except TimeoutError:
                    continue
            for process in chosen:
                process.enter("stopped")
        self._report()
        for task in self._tasks:
            task.cancel()
        self._lifeline.close()

    def kill_all(self) -> None:
        """End every process at once, without waiting; for the impatient and for the end of a test."""
        for process in self._processes.values():
            process.kill_at = math.inf  # nobody waits for it any more, so that nothing becomes overdue
            if process.child is not None:
                process.enter("stopping")
                process.child.kill()

    # What follows runs in the owner task only.

    def _all_ready(self) -> bool:
        settled = {n for n, process in self._processes.items() if process.state in {"ready", "failed"}}
        return bool(self._wanted) and set(self._wanted) <= settled

    def _pause_s(self) -> float:
        now = time.monotonic()
        due = [each.start_at - now for each in self._processes.values() if each.state == "backing_off"]
        return max(0.01, min([IDLE_S, *due]))

    def _report(self) -> None:
        statuses = self.statuses()
        if statuses != self._reported:
            self._reported = statuses
            self._changed.set()
            self._on_change(statuses)

    async def _reconcile(self) -> None:
        for name, spec in self._wanted.items():
            process = self._processes.get(name)
            if process is None:
                self._processes[name] = process = _Process(spec)
            elif process.spec.command != spec.command:
                self._end(process)
                process.start_at = 0.0
            if process.child is None and time.monotonic() >= process.start_at:
                process.spec = spec
                await self._start(process)
        for name in [name for name in self._processes if name not in self._wanted]:
            self._end(self._processes[name])
            if self._processes[name].child is None:
                del self._processes[name]
        self._kill_overdue()

    async def _start(self, process: _Process) -> None:
        process.started_at, process.ready_at, process.kill_at = time.monotonic(), None, None
        process.failed_checks, process.killed_for = 0, None
        process.enter("starting")
        try:
            child = await Child.start(process.spec.command, lifeline=self._lifeline, on_line=self._on_line)
        except OSError as error:
            process.tail = (str(error),)
            self._after_end(process, f"cannot be started: {error}")
            return
        process.child = child
        log.info("%s started", process.spec.name, extra={"pid": child.pid})
        self._spawn(self._watch_exit(process.spec.name, child))
        self._spawn(self._watch_health(process.spec, child))

    def _end(self, process: _Process) -> None:
        if process.child is not None and process.kill_at is None:
            process.enter("stopping")
            process.kill_at = time.monotonic() + process.spec.grace_s
            process.child.terminate()

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for process in self._processes.values():
            if process.child is not None and process.kill_at is not None and now >= process.kill_at:
                name, grace_s = process.spec.name, process.spec.grace_s
                log.warning("%s did not stop in %.0f s and is killed", name, grace_s)
                process.child.kill()
                process.kill_at = math.inf

    def _handle(self, event: _Event) -> None:
        if event is None:
            return
        process = self._processes.get(event.name)
        if process is None or process.child is None or process.child is not event.child:
            return
        if isinstance(event, _Exited):
            process.tail = tuple(process.child.tail)
            process.child = None
            if process.state == "stopping":
                process.start_at, process.history = 0.0, History(ever_ready=process.history.ever_ready)
                process.enter("stopped")
            else:
                why = process.killed_for or ending(event.code) + last_words(process.tail)
                self._after_end(process, why, useless=event.code == USELESS_CODE)
        elif process.state in {"starting", "ready"}:
            if isinstance(event, _Hangs):
                self._kill(process, f"said nothing for {LOOKS_MAX * LOOK_S:.0f} s and hangs")
            else:
                self._judge(process, event.health)

    def _after_end(self, process: _Process, why: str, *, useless: bool = False) -> None:
        ended_at = time.monotonic()
        life = Life(started_at=process.started_at, ready_at=process.ready_at, ended_at=ended_at)
        restart = after(life, process.history, longest_s=process.spec.delay_s_max)
        process.start_at, process.history = restart.at, restart.history
        name, spec = process.spec.name, process.spec
        lost = spec.may_fail and (process.history.lost or (useless and life.ready_at is None))
        if (lost or process.history.hopeless) and spec.essential and not self._forgiving:
            raise StartFailed(obituary(process, why))
        if lost:
            process.start_at = math.inf
            process.enter("failed", why)
            log.error("%s %s; it does not get ready and is left alone", name, why)
            return
        process.enter("backing_off", why)
        log.warning("%s %s; it is started again in %.1f s", name, why, restart.at - ended_at)

    def _judge(self, process: _Process, health: Health) -> None:
        if health == "ok":
            process.failed_checks = 0
            if process.state == "starting":
                process.ready_at = time.monotonic()
                process.enter("ready")
        elif health == "failed" and process.state == "ready":
            process.failed_checks += 1
            if process.failed_checks >= UNHEALTHY_CHECKS:
                self._kill(process, f"failed {UNHEALTHY_CHECKS} health checks in a row")

    def _kill(self, process: _Process, why: str) -> None:
        """End one that does not do what it is there for, so that it is started again."""
        if process.child is not None:
            log.warning("%s %s; it is killed", process.spec.name, why)
            process.killed_for = f"{why}, and was killed"
            process.child.kill()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_exit(self, name: str, child: Child) -> None:
        self._events.put_nowait(_Exited(name, child, await child.wait()))

    async def _watch_health(self, spec: Spec, child: Child) -> None:
        try:
            if await child.serves():
                await asyncio.gather(self._probe(spec, child), self._listen(spec, child))
        finally:
            child.hang_up()

    async def _listen(self, spec: Spec, child: Child) -> None:
        """Look whether one that tells goes on to, until the child is gone or hangs."""
        silence = Silence(cpu_s=cpu_s(child.pid))
        while spec.command.tells and child.alive and not silence.hangs:
            await asyncio.sleep(self._pace.look_s)
            said, held = child.said(), held_up(child.pid)
            silence = looked(silence, said=said, held_up=held, cpu_s=cpu_s(child.pid))
        if silence.hangs:
            self._events.put_nowait(_Hangs(spec.name, child))

    async def _probe(self, spec: Spec, child: Child) -> None:
        """Probe until ready, then every 5 s if watched, until the child is gone."""
        ready = False
        while child.alive:
            asked_at = time.monotonic()
            health = await spec.probe(child.pid)
            self._events.put_nowait(_Probed(spec.name, child, health))
            ready = ready or health == "ok"
            if ready and not spec.watch:
                return
            pace_s = self._pace.ready_s if ready else self._pace.starting_s
            await asyncio.sleep(max(0.01, asked_at + pace_s - time.monotonic()))


def everything(_name: str) -> bool:
    """The last phase of stopping."""
    return True


def obituary(process: _Process, why: str) -> str:
    """What to tell a person about a process that will not start."""
    lines = "\n".join(f"  {line}" for line in process.tail) or "  (it printed nothing)"
    often = f", {process.history.failures} times in a row" if process.history.failures > 1 else ""
    return f"{process.spec.name} {why}{often}. Its last lines:\n{lines}"


def last_words(tail: Iterable[str]) -> str:
    """What a process said last of why it ends, after a colon; nothing if it did not."""
    said = [line.removeprefix("airboss: ") for line in tail if line.startswith("airboss: ")]
    return f": {said[-1][:WORDS_CHARS_MAX]}" if said else ""


def ending(code: int) -> str:
    """In words how a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by signal {-code}"
