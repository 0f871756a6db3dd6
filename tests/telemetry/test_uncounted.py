"""What a worker has counted since it shared its counts, as its next life finds it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.telemetry.metrics import Counts, WorkerMetrics
from airboss.telemetry.uncounted import PART_BYTES, Uncounted, left_uncounted
from tests.store.samples import closed, opened

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def life(path: Path, held: Counts) -> WorkerMetrics:
    """A worker's metrics that go on from what another shared, which it has shared itself."""
    metrics = WorkerMetrics()
    metrics.resume(held, path)
    metrics.keep(Uncounted(path))
    return metrics


def answer(metrics: WorkerMetrics, calls: int) -> None:
    """So many calls end, in a turn of the loop each."""
    for _ in range(calls):
        metrics.call(opened(1), closed(1))
        metrics.recorded()


def shared(metrics: WorkerMetrics) -> Counts:
    """The counts as they are written down."""
    return msgspec.json.decode(msgspec.json.encode(metrics.counts(NOW)), type=Counts)


def counted(counts: Counts) -> int:
    """How many calls these counts tell of."""
    return sum(sum(each.duration.counts) for each in counts.series)


@pytest.mark.parametrize("written", [True, False], ids=["counts written", "killed as they are written"])
@pytest.mark.parametrize("shares", range(4))
def test_each_call_counts_once(tmp_path: Path, shares: int, written: bool) -> None:
    """Whenever a worker is killed, and however often: its next life has each call that was recorded once."""
    path, held, calls = tmp_path / "uncounted", Counts(written_at=NOW), 0
    for _ in range(3):
        metrics = life(path, held)
        held = shared(metrics)
        for n in range(shares):
            answer(metrics, n + 3)
            calls += n + 3
            new = shared(metrics)
            if written or n < shares - 1:
                held = new
        answer(metrics, 2)
        metrics.call(opened(1), closed(1))  # its end is not in the journal yet
        calls += 2
        killed = WorkerMetrics()
        killed.resume(held, path)
        held = shared(killed)
        assert counted(held) == calls


def test_what_cannot_be_read_counts_nothing(tmp_path: Path) -> None:
    """No file, an empty one, garbage behind what is good: after a power cut there is any of it."""
    assert left_uncounted(tmp_path / "none", 3) == ([], 3)
    path = tmp_path / "uncounted"
    path.touch()
    assert left_uncounted(path, 3) == ([], 3)
    path.unlink()
    answer(life(path, Counts(written_at=NOW)), 2)
    data = bytearray(path.read_bytes())
    part = next(at for at in (0, PART_BYTES) if data[at + 8 : at + 12] != bytes(4))
    end = part + 8
    while length := int.from_bytes(data[end : end + 4]):
        end += 4 + length
    data[end : end + 400] = b"\x00\x00\x00\x40" + b"z" * 396
    path.write_bytes(data)
    metrics = WorkerMetrics()
    metrics.resume(Counts(written_at=NOW), path)
    assert counted(metrics.counts(NOW)) == 2


def test_it_is_bounded(tmp_path: Path) -> None:
    """More than a part holds is not kept, and what is kept is whole."""
    path = tmp_path / "uncounted"
    kept = Uncounted(path)
    kept.begin(1)
    call = b"x" * 1000
    for _ in range(PART_BYTES // 1000 + 10):
        kept.add(call)
    left, last = left_uncounted(path, 1)
    assert (set(left), last) == ({call}, 1)
    assert PART_BYTES - 2 * len(call) < len(left) * (len(call) + 4) <= PART_BYTES
    assert path.stat().st_size == 2 * PART_BYTES
