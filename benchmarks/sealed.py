"""Bodies sealed: what that costs the move and the reader, and how long records are.

    python -m benchmarks.sealed [--records 20000] [--rounds 3]

The calls of `benchmarks.records`, of 3 KB of text and 5,000 people, are moved into DuckDB's file, searchable
and sealed in turns, and read again. CPU is of the mover and the store together, without the words that are
made of what is searchable when there is time; each person's key is made in it. Bytes are of the closed file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
from benchmarks.records import Calls
from benchmarks.stats import keep, table

from airboss.compose.sealing import open_ring
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.store.datadir import DataDir
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.joining import join, read_closed, read_opened
from airboss.store.sealed_log import SealedLog
from airboss.store.span_rows import TracedLog

AT_ONCE = 2_000
READ = 100


def taken(log: TracedLog, payloads: list[bytes]) -> float:
    """CPU-seconds to store these."""
    began = time.process_time()
    for start in range(0, len(payloads), AT_ONCE):
        some = tuple(payloads[start : start + AT_ONCE])
        log.apply(JournalMove(segment="w/1", start=start, end=start + len(some), records=some))
    return time.process_time() - began


def read(log: TracedLog) -> tuple[float, int]:
    """CPU-seconds to read all of it, in pages, and how many records there were."""
    began, count = time.process_time(), 0
    where = RecordFilter()
    found: list[InferenceRecord] = list(log.records(where, limit=READ, bodies=True))
    while found:
        count += len(found)
        assert isinstance(found[0].request, dict)
        assert "messages" in found[0].request
        found = list(log.records(RecordFilter(before=found[-1].id), limit=READ, bodies=True))
    return time.process_time() - began, count


def main() -> None:
    """Measure, print and keep."""
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--records", type=int, default=20_000)
    given.add_argument("--rounds", type=int, default=3)
    asked = given.parse_args()
    calls = Calls(step_s=0.6)
    payloads = []
    for _ in range(asked.records):
        opened, closed = calls.next()
        payloads.append(msgspec.json.encode(join(read_opened(opened), read_closed(closed))))
    found: dict[str, list[tuple[float, float, float]]] = {"searchable": [], "sealed": []}
    for _ in range(asked.rounds):
        for kind, results in found.items():
            with tempfile.TemporaryDirectory() as folder:
                data = DataDir(Path(folder))
                data.create()
                data.secret("erase_key")
                inner = DuckDBRecordLog(data.records_path)
                with open_ring(data, leads=True) as ring:
                    log: TracedLog = inner
                    if kind == "sealed":
                        log = SealedLog(inner, ring, wanted=lambda: True)
                    moved_s = taken(log, payloads)
                    read_s, count = read(log)
                assert count == asked.records
                log.close()
                size = data.records_path.stat().st_size
            results.append((moved_s / count * 1e6, read_s / count * 1e6, size / count))
    names = ("CPU to move, µs a record", "CPU to read, µs a record", "bytes a record")
    rows = []
    for kind, results in found.items():
        medians = [round(median(each)) for each in zip(*results, strict=True)]
        rows.append({"bodies": kind, **dict(zip(names, medians, strict=True))})
    sys.stdout.write(f"{table(rows)}\n")
    keep("sealed", {"records": asked.records, "rounds": asked.rounds, "found": found})


if __name__ == "__main__":
    main()
