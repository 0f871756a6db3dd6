"""Does jobs: claims them, runs each in a thread of its own, says how far they are, keeps what came of them.

A handler is called anew after a crash, with the job as it was asked for: it must find what it had done before
(answers that are kept, say) and pass over it. A controller that stops in good order gives its jobs back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from airboss.domain.errors import AirbossError, SetupError
from airboss.domain.ports import Clock
from airboss.store.job_rows import Job, JobStore
from airboss.store.ledger_trouble import LedgerTrouble
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

AT_ONCE_MAX: Final = 2
LONG: Final = frozenset({"finetune"})
"""Kinds of which a job may take days, most of them waiting for somebody else: they have places of their own,
so that no evaluation, and no rollout that waits for one, has to wait for them."""

LEASE_S: Final = 10.0
"""An owner that is silent for so long has lost its job."""

BEAT_S: Final = 1.0
POLL_S: Final = 0.5
STOP_S: Final = 5.0
"""How long jobs have to end when the controller stops; after that they are left, and their leases run out."""


class JobCancelled(Exception):
    """The job is not to be worked at any more: it was cancelled, it is somebody else's, or the controller
    stops. A handler lets it pass through."""


class Progress:
    """What a handler says while it works. Any of its threads may use it."""

    def __init__(self, job: Job) -> None:
        self.done, self.total, self.note = job.done, job.total, job.note
        self._stopped = threading.Event()

    def report(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps are through. Cheap: it is written down once a second. Raises JobCancelled
        where the job is to be left."""
        self.done, self.total, self.note = done, total, note
        self.check()

    def check(self) -> None:
        """Raises JobCancelled where the job is to be left; for handlers that have nothing new to say."""
        if self._stopped.is_set():
            raise JobCancelled

    @property
    def stopped(self) -> bool:
        """Whether the job is to be left."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Tell the handler to leave the job."""
        self._stopped.set()


Handler = Callable[[Job, Progress], object]
"""Does a job of one kind, in a thread of its own, and returns its result, which is encoded as JSON. An
AirbossError that it raises is the job's error, in its words, but for LedgerTrouble, which says nothing about
the job; anything else is a defect and logged as one."""


class _Running:
    """A job at work here."""

    def __init__(self, job: Job, owner: str) -> None:
        self.job = job
        self.owner = owner
        self.progress = Progress(job)
        self.thread: threading.Thread | None = None


class JobRunner:
    """Works at jobs until told to stop. `name` tells this process from all others, now and later; `redact`
    takes secrets out of what is written down of a job: an error or a note may quote whom it asked."""

    def __init__(
        self,
        store: JobStore,
        handlers: Mapping[str, Handler],
        *,
        redact: Callable[[str], str],
        clock: Clock,
        name: str,
        lease_s: float = LEASE_S,
        beat_s: float = BEAT_S,
        poll_s: float = POLL_S,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._redact = redact
        self._clock = clock
        self._name = name
        self._lease_s, self._beat_s, self._poll_s = lease_s, beat_s, poll_s
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._claims = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; jobs under way are then given back. A ledger that does not answer is
        waited for."""
        beaten_at, wall = self._clock.monotonic(), self._clock.now()
        lease = timedelta(seconds=self._lease_s)
        outage = Outage(log, "jobs wait")
        while not stop.is_set():
            try:
                # Where the wall clock was set, our leases have run out by it: we would claim our own jobs.
                now = self._clock.now()
                stepped = not timedelta() <= now - wall < lease
                if stepped or self._clock.monotonic() - beaten_at >= self._beat_s:
                    beaten_at, wall = self._clock.monotonic(), now
                    self._beat(now)
                while not stop.is_set() and self._begin(now):
                    pass
                outage.over()
            except SetupError as error:
                outage.failed(error)
            stop.wait(self._poll_s)
        self._give_back()

    def _begin(self, now: datetime) -> bool:
        """Claim a job of a kind that has a place left and start it; whether there was one."""
        kinds = [each.job.kind in LONG for each in self._here()]
        long, other = (kinds.count(each) >= AT_ONCE_MAX for each in (True, False))
        if long and other:
            return False
        but = LONG if long else self._handlers.keys() - LONG if other else frozenset[str]()
        self._claims += 1
        # One name a claim: should we lose a job and claim it anew, our first thread is not its owner.
        owner = f"{self._name}-{self._claims}"
        job = self._store.claim(owner, now, self._lease_s, but=but)
        if job is None:
            return False
        running = _Running(job, owner)
        # A write may have taken longer than a lease: by its end the claim is as old, and another's. So it is
        # made as of now, by an owner that is still one, before anything begins. The claim itself goes by the
        # time of the beats: later than they, it would take the jobs that are under way here for silent.
        if not self._say(running, self._clock.now()):
            log.info("job %s is another's by now", job.id, extra={"job": job.id})
            return True
        thread = threading.Thread(target=self._work, args=(running,), name=f"job-{job.id}", daemon=True)
        running.thread = thread
        with self._lock:
            self._running[owner] = running
        log.info("job %s begins", job.id, extra={"job": job.id})
        thread.start()
        return True

    def _beat(self, now: datetime) -> None:
        """Keep the leases of all jobs here, write down how far they are, and stop those that are not ours."""
        for running in self._here():
            if not self._say(running, now):
                running.progress.stop()

    def _say(self, running: _Running, now: datetime) -> bool:
        said = running.progress
        return self._store.beat(
            running.job.id,
            running.owner,
            done=said.done,
            total=said.total,
            note=self._redact(said.note),
            now=now,
        )

    def _work(self, running: _Running) -> None:
        job = running.job
        try:
            result = self._handler(job.kind)(job, running.progress)
            if self._say(running, self._clock.now()):
                self._store.finish(job.id, running.owner, result, self._clock.now())
                log.info("job %s is done", job.id, extra={"job": job.id})
        except JobCancelled:
            log.info("job %s is left", job.id, extra={"job": job.id})
        except LedgerTrouble as error:
            # As after a crash: its lease runs out, and it is begun again when the ledger answers.
            log.warning("job %s waits for the ledger: %s", job.id, error, extra={"job": job.id})
        except AirbossError as error:
            self._failed(running, str(error))
        except Exception as error:
            log.exception("a defect in job %s", job.id, extra={"job": job.id})
            self._failed(running, f"a defect of Airboss, {type(error).__name__}: {error}; see the log")
        finally:
            with self._lock:
                self._running.pop(running.owner, None)

    def _handler(self, kind: str) -> Handler:
        found = self._handlers.get(kind)
        if found is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise SetupError(f"this Airboss does no jobs of kind {kind!r}; it does {known}")
        return found

    def _failed(self, running: _Running, error: str) -> None:
        if running.progress.stopped:
            return  # what breaks while it is being left says nothing about the job
        log.warning("job %s failed: %s", running.job.id, error, extra={"job": running.job.id})
        try:
            self._store.fail(running.job.id, running.owner, self._redact(error), self._clock.now())
        except SetupError as cause:
            # Its lease runs out, and it is begun again when the ledger answers.
            log.warning("job %s failed, which cannot be written down: %s", running.job.id, cause)

    def _give_back(self) -> None:
        left = self._here()
        for running in left:
            running.progress.stop()
        deadline = self._clock.monotonic() + STOP_S
        for running in left:
            if running.thread is not None:
                running.thread.join(max(0.0, deadline - self._clock.monotonic()))
                if running.thread.is_alive():
                    continue  # it may still write; its lease keeps others away until it is gone
            try:
                self._store.release(running.job.id, running.owner, self._clock.now())
            except SetupError as error:
                log.warning("job %s is not given back: %s", running.job.id, error)

    def _here(self) -> list[_Running]:
        with self._lock:
            return list(self._running.values())
