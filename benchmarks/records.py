"""Recording: how fast calls go from the journal into the store, and how fast the store answers.

    python -m benchmarks.records [--records 100000] [--burst 10000]

Calls of 3 KB of text are written as a gateway writes them, by a process of its own, and moved by the mover as
the controller has it run, resting between, into a store process with DuckDB's file, which makes words and
sums when it has time. CPU is of mover and store, on as many cores as they take: records a CPU-second are what
one core does, until bodies are searchable. The burst is written at that rate for 30 s while it is moved; its
lag is watched. Then the questions of a dashboard and words in bodies are asked of all that is there. Nothing
may be missing or there twice.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.peers import cpu_s
from benchmarks.stats import keep, machine, median, table

from airboss.compose.parts import SystemClock
from airboss.controller.mover import Mover
from airboss.domain.ports import JournalMove, RecordFilter, RecordLog
from airboss.domain.record import Attempt, ClosedCall, OpenedCall, Redacted
from airboss.store.client import StoreClient
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.service import serve
from airboss.telemetry.journal import JournalWriter

SEED = 20261128
BURST_S = 30
VOCABULARY = 60_000
SYLLABLES = (
    "ba",
    "ko",
    "ti",
    "ran",
    "mel",
    "os",
    "ver",
    "tu",
    "li",
    "pa",
    "shi",
    "no",
    "dre",
    "ga",
    "el",
    "um",
)
START = datetime(2026, 11, 1, tzinfo=UTC)


class Calls:
    """Calls with words drawn as in a language (Zipf), a moment apart; the number of each is a word too."""

    def __init__(self, *, step_s: float, first: int = 0) -> None:
        self._rng = random.Random(SEED + first)
        words = ["".join(self._rng.choices(SYLLABLES, k=self._rng.randint(1, 4))) for _ in range(VOCABULARY)]
        weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))
        lengths = [self._rng.randint(8, 20) for _ in range(20_000)]
        self._pool = [" ".join(self._rng.choices(words, cum_weights=weights, k=length)) for length in lengths]
        self._step_s, self._number = step_s, first

    def next(self) -> tuple[bytes, bytes]:
        """The two frames of the next call."""
        rng, number = self._rng, self._number
        self._number += 1
        at = START + timedelta(seconds=number * self._step_s)
        head = f"{int(at.timestamp() * 1000):012x}"
        record_id = f"{head[:8]}-{head[8:]}-7{number % 4096:03x}-8000-{number:012x}"
        deployment = rng.choice(("support", "search", "batch"))
        asked = {"role": "user", "content": ". ".join(rng.choices(self._pool, k=18)) + f" order {number}q"}
        said = {"role": "assistant", "content": ". ".join(rng.choices(self._pool, k=11))}
        latency_ms, stream, failed = rng.lognormvariate(6.5, 0.7), rng.random() < 0.6, rng.random() < 0.02
        opened = OpenedCall(
            id=record_id,
            started_at=at,
            deployment=deployment,
            release=deployment[0] * 64,
            arm="stable" if rng.random() < 0.9 else "canary",
            plan=3,
            model="small",
            provider="openai",
            key=rng.choice(("team-a", "team-b", "team-c")),
            operation="chat",
            stream=stream,
            user=f"user-{rng.randrange(5_000)}",
            session=f"s{rng.randrange(20_000)}",
            tags={"team": "a"},
            request=msgspec.Raw(json.dumps({"model": "gpt-4o", "messages": [asked]}).encode()),
        )
        attempt = Attempt(
            provider="openai", model="gpt-4o-mini", url="https://h/v1", start_ms=0.1, latency_ms=latency_ms
        )
        closed = ClosedCall(
            id=record_id,
            status="error" if failed else "ok",
            error_type="upstream_timeout" if failed else None,
            latency_ms=latency_ms,
            overhead_ms=0.4,
            ttft_ms=latency_ms * 0.3 if stream else None,
            finish_reason="stop",
            input_tokens=400,
            output_tokens=rng.randint(20, 300),
            cost_usd=Decimal(rng.randint(1, 99_999)).scaleb(-7),
            output_chars=800,
            attempts=(attempt,),
            response=msgspec.Raw(json.dumps({"choices": [{"index": 0, "message": said}]}).encode()),
        )
        return msgspec.json.encode(opened), msgspec.json.encode(closed)


def write(root: Path, *, count: int, first: int, per_s: float | None) -> None:
    """Be a gateway's worker: write so many calls, at a rate or as fast as it goes. Prints its CPU-seconds a
    call for the journal alone."""
    calls = Calls(step_s=0.6, first=first)
    ready = [calls.next() for _ in range(min(count, 20_000))]  # made before, and told apart by their ids
    writer = JournalWriter(root, f"w{first}")
    began, spent = time.monotonic(), 0.0
    for number in range(count):
        frames = ready[number] if number < len(ready) else calls.next()
        cpu = time.process_time()
        writer.open(Redacted(frames[0]))
        writer.close_call(Redacted(frames[1]))
        spent += time.process_time() - cpu
        if per_s is not None and number % 100 == 0:
            time.sleep(max(0.0, began + number / per_s - time.monotonic()))
    writer.stop()
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - began, "journal_us": spent / count * 1e6}))


def writing(root: Path, count: int, *, first: int, per_s: float | None) -> subprocess.Popen[str]:
    """A worker in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.records", "--write", str(root), "--records", str(count)]
    command += ["--first", str(first), *(["--burst", str(per_s)] if per_s is not None else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Tidied(DuckDBRecordLog):
    """A record log that knows when nothing is left to tidy."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.done = threading.Event()

    def tidy(self) -> bool:
        """As the record log's."""
        more = super().tidy()
        if not more:
            self.done.set()
        return more


def keep_records(root: Path) -> None:
    """Be the store, until stdin ends. Asked by a line there, it says how much CPU it has used once it found
    twice that all is tidy: a look may have begun before the last move."""
    log, stop = Tidied(root / "records.duckdb"), threading.Event()
    ready = threading.Event()
    serving = threading.Thread(
        target=serve, args=(log, root / "store.sock"), kwargs={"stop": stop, "ready": ready.set}
    )
    serving.start()
    ready.wait()
    for _line in sys.stdin:
        for _ in range(2):
            log.done.clear()
            log.done.wait()
        print(time.process_time(), flush=True)
    stop.set()
    serving.join()


class Client(StoreClient):
    """A client that knows how many calls each move ended."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.moves: list[int] = []

    def apply(self, move: JournalMove) -> int:
        """As the client's."""
        self.moves.append(len(move.closed))
        return super().apply(move)


class Store:
    """The store process, started at once, and its client."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.records", "--keep", str(root)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.log = Client(root / "store.sock")
        self.used_s = 0.0
        self.tidy_s()

    def tidy_s(self) -> float:
        """The CPU-seconds that it has used since this was asked last, once nothing is left to tidy."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        before, self.used_s = self.used_s, float(self.process.stdout.readline())
        return self.used_s - before

    def close(self) -> None:
        """Have it close its file and end."""
        self.log.close()
        self.process.communicate()


def moved(root: Path, store: Store, process: subprocess.Popen[str], count: int) -> dict[str, Any]:
    """Move what a worker writes until all of it is there; what that took."""
    before, cpu, began = store.log.count(RecordFilter()), time.process_time(), time.monotonic()
    mover = Mover(root, store.log, SystemClock())
    store.log.moves.clear()
    stop = threading.Event()
    moving = threading.Thread(target=mover.run, args=(stop, lambda _status: None))
    moving.start()
    lag_s = waiting = 0.0
    while True:
        status = mover.status()
        lag_s, waiting = max(lag_s, status.lag_s), max(waiting, status.unmoved_bytes)
        if process.poll() is not None and not status.unmoved_bytes:
            break
        time.sleep(0.5)  # a look at all segments costs a millisecond, and is none of what a move costs
    stop.set()
    moving.join()
    mover.drain()
    wall = time.monotonic() - began
    cpu = time.process_time() - cpu + store.tidy_s()
    wrote = json.loads(process.communicate()[0])
    there = store.log.count(RecordFilter()) - before
    return {
        "records": count,
        "lost or double": count - there,
        "per CPU-second": round(count / cpu),
        "a move": round(median(store.log.moves)),
        "written per second": round(count / wrote["seconds"]),
        "journal us a call": round(wrote["journal_us"], 1),
        "all moved after s": round(wall, 1),
        "lag s at most": round(lag_s, 1),
        "MB waiting at most": round(waiting / 1e6, 1),
    }


def timed(
    ask: Callable[[], Any], times: int = 5, *, used: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """The median time of a question, by the clock and of CPU; `used` tells how many seconds of it were."""
    found = []
    for _ in range(times):
        began, cpu = time.monotonic(), used()
        ask()
        found.append(((time.monotonic() - began) * 1000, (used() - cpu) * 1000))
    wall, cpu = sorted(found)[times // 2]
    return {"ms": round(wall, 1), "CPU ms": round(cpu, 1)}


def questions(store: Store) -> list[dict[str, Any]]:
    """What a dashboard and a search ask, of a day and of all; CPU is the store's."""
    log: RecordLog = store.log
    (newest,) = log.records(RecordFilter(), limit=1, bodies=False)
    (oldest,) = log.records(RecordFilter(after=""), limit=1, bodies=False)
    end = newest.started_at + timedelta(seconds=1)
    rows = []
    for name, since in (("a day", end - timedelta(days=1)), ("all", oldest.started_at)):
        step_s = 60 if name == "a day" else 3_600
        rare = RecordFilter(since=since)
        asked: list[tuple[str, Callable[[], Any]]] = [
            ("overview", lambda since=since: log.stats(since, end)),
            ("series", lambda since=since, step_s=step_s: log.series(since, end, step_s=step_s)),
            ("who answered", lambda since=since: log.traffic(since, end, step_s=3_600)),
            ("newest failed", lambda where=rare: failed(log, where)),
            ("a rare word", lambda where=rare: log.search(where, "1234q", limit=50, bodies=False)),
            ("50 with a usual word", lambda where=rare: log.search(where, "shiko", limit=50, bodies=False)),
        ]
        rows += [
            {"question": what, "of": name, **timed(ask, used=lambda: cpu_s(store.process.pid))}
            for what, ask in asked
        ]
    return rows


def failed(log: RecordLog, where: RecordFilter) -> object:
    """The newest calls of a deployment that failed."""
    where = msgspec.structs.replace(where, deployment="support", status="error")
    return log.records(where, limit=50, bodies=False)


def measure(root: Path, records: int, burst: float) -> dict[str, Any]:
    """Everything, in one folder."""
    journal = root / "journal"
    journal.mkdir(exist_ok=True)
    store = Store(root)
    try:
        steady = moved(journal, store, writing(journal, records, first=0, per_s=None), records)
        count = int(burst * BURST_S)
        shock = (
            moved(journal, store, writing(journal, count, first=records, per_s=burst), count) if count else {}
        )
        asked = questions(store)
    finally:
        store.close()
    size = (root / "records.duckdb").stat().st_size
    return {
        "steady": steady,
        "burst": shock,
        "bytes": size,
        "asked": asked,
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--burst", type=float, default=None)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args(arguments)
    if given.write is not None:
        write(given.write, count=given.records, first=given.first, per_s=given.burst)
        return
    if given.keep is not None:
        keep_records(given.keep)
        return
    with tempfile.TemporaryDirectory(prefix="airboss-records-") as folder:
        result = measure(Path(folder), given.records, 10_000.0 if given.burst is None else given.burst)
    print(f"Recording, on {machine()}")
    for name in ("steady", "burst"):
        print(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in result[name].items()))
    print(f"  file: {result['bytes'] / 1e6:.0f} MB")
    print(table(result["asked"]))
    keep("records", result)


if __name__ == "__main__":
    main(sys.argv[1:])
