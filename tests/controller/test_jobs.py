"""The runner of jobs: one owner at a time, whatever is killed; cancelled within moments."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.compose.parts import SystemClock
from airboss.controller.jobs import Handler, JobRunner, Progress
from airboss.domain.errors import WrongCall
from airboss.store.job_rows import Job
from airboss.store.jobs import SqlJobStore
from airboss.store.ledger_trouble import LedgerAway
from tests.controller.working import STEPS
from tests.support.wait import hold_still, until

CLOCK = SystemClock()
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlJobStore]:
    """An empty store."""
    made = SqlJobStore(url)
    yield made
    made.close()


@contextmanager
def runner(store: SqlJobStore, lease_s: float = 5.0, **handlers: Handler) -> Iterator[None]:
    """A runner at work until the end of the block."""
    made = JobRunner(
        store,
        handlers,
        redact=lambda text: text.replace("the-secret", "[REDACTED]"),
        clock=CLOCK,
        name="here",
        lease_s=lease_s,
        beat_s=0.02,
        poll_s=0.01,
    )
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def state(store: SqlJobStore, job: Job) -> str:
    """Where a job stands."""
    found = store.get(job.id)
    assert found is not None
    return found.state


def reached(store: SqlJobStore, job: Job, wanted: str) -> Job:
    """The job once it stands there."""
    until(lambda: state(store, job) == wanted)
    found = store.get(job.id)
    assert found is not None
    return found


def test_a_job_is_done_and_its_result_kept(store: SqlJobStore) -> None:
    """With its last progress; the spec reaches the handler as it was given."""
    job = store.add("double", {"n": 21}, "ann", CLOCK.now())

    def double(job: Job, progress: Progress) -> object:
        progress.report(1, 1, "doubled")
        return {"is": msgspec.json.decode(job.spec)["n"] * 2}

    with runner(store, double=double):
        done = reached(store, job, "done")
    assert done.result == msgspec.Raw(b'{"is":42}')
    assert (done.done, done.total, done.note) == (1, 1, "doubled")


def test_a_job_fails_with_its_cause(store: SqlJobStore, caplog: pytest.LogCaptureFixture) -> None:
    """In the words of an error raised on purpose; a defect is named as one; a kind nobody does is said."""
    jobs = [store.add(kind, None, "ann", CLOCK.now()) for kind in ("wrong", "broken", "unknown")]

    def wrong(_job: Job, _progress: Progress) -> object:
        raise WrongCall("the dataset is gone")

    def broken(_job: Job, _progress: Progress) -> object:
        raise ZeroDivisionError("by zero")

    with runner(store, wrong=wrong, broken=broken):
        errors = [reached(store, job, "failed").error for job in jobs]
    assert errors[0] == "the dataset is gone"
    assert "a defect of Airboss, ZeroDivisionError: by zero" in str(errors[1])
    assert "no jobs of kind 'unknown'; it does broken, wrong" in str(errors[2])


def test_what_is_written_down_of_a_job_has_no_secrets(store: SqlJobStore) -> None:
    """Whom it asks may say in an error what it was sent, and a note may quote that."""
    job = store.add("quotes", None, "ann", CLOCK.now())
    go = threading.Event()

    def quotes(_job: Job, progress: Progress) -> object:
        progress.report(1, 2, "the judge said the-secret")
        go.wait(60)
        raise WrongCall("the judge said the-secret again")

    with runner(store, quotes=quotes):
        until(lambda: (held := store.get(job.id)) and held.note == "the judge said [REDACTED]")
        go.set()
        assert reached(store, job, "failed").error == "the judge said [REDACTED] again"


def test_a_job_that_loses_the_ledger_is_begun_again(store: SqlJobStore) -> None:
    """What the database could not do for a moment is no end of hours of work."""
    job = store.add("shaken", None, "ann", CLOCK.now())
    begun = []

    def shaken(_job: Job, _progress: Progress) -> object:
        begun.append(1)
        if len(begun) == 1:
            raise LedgerAway("terminating connection due to administrator command")
        return None

    with runner(store, lease_s=0.5, shaken=shaken):
        assert reached(store, job, "done").error is None


def test_two_jobs_at_once_and_no_more(store: SqlJobStore) -> None:
    """The third waits until one of two is done."""
    go, seen = threading.Event(), []

    def wait(job: Job, _progress: Progress) -> object:
        seen.append(job.id)
        assert go.wait(60)
        return None

    jobs = [store.add("wait", None, "ann", CLOCK.now()) for _ in range(3)]
    with runner(store, wait=wait):
        until(lambda: len(seen) == 2)
        assert sorted(state(store, job) for job in jobs) == ["queued", "running", "running"]
        go.set()
        for job in jobs:
            reached(store, job, "done")


def test_a_cancelled_job_stops(store: SqlJobStore) -> None:
    """Its handler hears it at its next report, and what it would have found is not kept."""
    left = threading.Event()

    def endless(_job: Job, progress: Progress) -> object:
        try:
            until(lambda: progress.report(1, 2))
        finally:
            left.set()
        return None

    job = store.add("endless", None, "ann", CLOCK.now())
    with runner(store, endless=endless):
        until(lambda: (store.get(job.id) or job).done == 1)
        store.cancel(job.id, CLOCK.now())
        assert left.wait(60)
    assert state(store, job) == "cancelled"


def test_a_runner_that_stops_gives_its_jobs_back(store: SqlJobStore) -> None:
    """The next runner begins at once, without waiting for a lease."""
    begun = threading.Event()

    def endless(_job: Job, progress: Progress) -> object:
        begun.set()
        return until(lambda: progress.report(0, 1))

    job = store.add("endless", None, "ann", CLOCK.now())
    with runner(store, endless=endless):
        assert begun.wait(60)
    assert state(store, job) == "queued"
    with runner(store, endless=lambda _job, _progress: "again"):
        assert reached(store, job, "done").result == msgspec.Raw(b'"again"')


Start = Callable[[str, float], subprocess.Popen[str]]


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts processes that work at jobs."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str, lease_s: float) -> subprocess.Popen[str]:
        arguments = [url, str(tmp_path), name, str(lease_s)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.controller.working", *arguments],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def stop_between_writes(process: subprocess.Popen[str], ledger: Path) -> None:
    """Stop it while we write, so that it holds no lock that would keep all others from writing."""
    with closing(sqlite3.connect(ledger, timeout=60, isolation_level=None)) as ours:
        ours.execute("BEGIN IMMEDIATE")
        hold_still(process.pid)


def lines(tmp_path: Path, job: Job) -> list[str]:
    """What was done at a job."""
    path = tmp_path / job.id
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_owner_is_followed_by_another(store: SqlJobStore, start: Start, tmp_path: Path) -> None:
    """After kill -9 the job goes to the next once the lease is over, and goes on where it was."""
    job = store.add("slow", None, "ann", CLOCK.now())
    first = start("first", 1.0)
    (tmp_path / "go-0").touch()
    (tmp_path / "go-1").touch()
    until(lambda: "first did 1" in lines(tmp_path, job))
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    start("second", 1.0)
    for step in range(STEPS):
        (tmp_path / f"go-{step}").touch()
    assert reached(store, job, "done").result == msgspec.Raw(b'{"by":"second"}')
    assert lines(tmp_path, job) == [
        "first begins",
        "first did 0",
        "first did 1",
        "second begins",
        "second did 2",
        "second did 3",
    ]


def test_two_runners_never_do_one_job_at_once(store: SqlJobStore, start: Start, tmp_path: Path) -> None:
    """Three processes at one ledger: each job is begun once, by one of them."""
    for step in range(STEPS):
        (tmp_path / f"go-{step}").touch()
    jobs = [store.add("slow", None, "ann", CLOCK.now()) for _ in range(12)]
    for name in ("one", "two", "three"):
        start(name, 30.0)
    for job in jobs:
        until(lambda job=job: state(store, job) == "done")  # type: ignore[misc]
        begun = [line for line in lines(tmp_path, job) if line.endswith("begins")]
        assert len(begun) == 1
        assert len(lines(tmp_path, job)) == 1 + STEPS


def test_a_stopped_process_that_wakes_up_keeps_off(store: SqlJobStore, start: Start, tmp_path: Path) -> None:
    """An owner that slept past its lease learns that the job is another's, and ends nothing."""
    job = store.add("slow", None, "ann", CLOCK.now())
    first = start("first", 0.5)
    (tmp_path / "go-0").touch()
    until(lambda: "first did 0" in lines(tmp_path, job))
    stop_between_writes(first, tmp_path / "ledger.db")
    start("second", 0.5)
    until(lambda: "second begins" in lines(tmp_path, job))
    assert first.stdin is not None
    first.stdin.close()  # so that it does not begin anew, should the second be held up for a lease
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0
    for step in range(STEPS):
        (tmp_path / f"go-{step}").touch()
    assert reached(store, job, "done").result == msgspec.Raw(b'{"by":"second"}')
    assert not [line for line in lines(tmp_path, job)[3:] if line.startswith("first")]


def test_long_jobs_keep_no_others_waiting(store: SqlJobStore) -> None:
    """Two fine-tunings that wait for their provider leave two places for evaluations, and the other way
    round; a third of either waits."""
    leave = threading.Event()

    def wait(_job: Job, progress: Progress) -> object:
        while not leave.wait(0.01):
            progress.check()
        return {}

    long = [store.add("finetune", {}, "ann", CLOCK.now()) for _ in range(3)]
    short = [store.add("eval", {}, "ann", CLOCK.now()) for _ in range(3)]
    with runner(store, finetune=wait, eval=wait):
        for job in (*long[:2], *short[:2]):
            reached(store, job, "running")
        assert (state(store, long[2]), state(store, short[2])) == ("queued", "queued")
        leave.set()
        for job in (*long, *short):
            reached(store, job, "done")


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_a_runner_does_not_claim_its_own_job_when_the_clock_is_set(
    store: SqlJobStore, step: timedelta
) -> None:
    """By the wall clock its lease has run out at once; it lives all the same, and does the job once."""
    begun, leave, ahead = [0], threading.Event(), [timedelta()]

    class Stepping(SystemClock):
        def now(self) -> datetime:
            return super().now() + ahead[0]

    def wait(_job: Job, progress: Progress) -> object:
        begun[0] += 1
        while not leave.wait(0.01):
            progress.check()
        return {}

    made = JobRunner(
        store, {"slow": wait}, redact=str, clock=Stepping(), name="here", lease_s=5.0, beat_s=0.5, poll_s=0.01
    )
    job, stop = store.add("slow", {}, "ann", CLOCK.now()), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        until(lambda: begun[0])
        ahead[0] = step
        until(lambda: (held := store.get(job.id)) and abs(held.updated_at - CLOCK.now()) > timedelta(hours=1))
        leave.set()
        reached(store, job, "done")
    finally:
        stop.set()
        thread.join(60)
    assert begun == [1]


class Held(SqlJobStore):
    """A store in which a claim takes long: `meanwhile` happens between its write and the answer."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def claim(self, owner: str, now: datetime, lease_s: float, *, but: Collection[str] = ()) -> Job | None:
        """As a store."""
        found = super().claim(owner, now, lease_s, but=but)
        if found is not None:
            self.meanwhile()
        return found


@pytest.mark.parametrize("taken", [False, True])
def test_a_claim_that_took_longer_than_a_lease_is_made_anew(url: str, *, taken: bool) -> None:
    """So that nobody takes the job while its owner lives; whom it was taken from meanwhile does not begin."""
    ahead, begun, went, go = [timedelta()], [], [], threading.Event()

    class Ahead:
        def now(self) -> datetime:
            return CLOCK.now() + ahead[0]

        def monotonic(self) -> float:
            return CLOCK.monotonic() + ahead[0].total_seconds()

    store, other = Held(url), SqlJobStore(url)
    lease_s = 60.0

    def long_after() -> None:
        store.meanwhile = lambda: None
        ahead[0] += timedelta(seconds=2 * lease_s)
        if taken:
            assert other.claim("other", Ahead().now(), lease_s) is not None
        went.append(1)

    def slow(_job: Job, _progress: Progress) -> object:
        begun.append(1)
        go.wait(60)
        return {}

    store.meanwhile = long_after
    job = store.add("slow", {}, "ann", CLOCK.now())
    made = JobRunner(
        store,
        {"slow": slow},
        redact=str,
        clock=Ahead(),
        name="here",
        lease_s=lease_s,
        beat_s=3e3,
        poll_s=0.01,
    )
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        until(lambda: went if taken else begun)
        assert other.claim("another", Ahead().now(), lease_s) is None
        go.set()
        if not taken:
            reached(store, job, "done")
    finally:
        go.set()
        stop.set()
        thread.join(60)
        assert len(begun) == (not taken)
        store.close()
        other.close()
