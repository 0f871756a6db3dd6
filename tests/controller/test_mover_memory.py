"""What the mover's memory grows to, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from airboss.compose.parts import SystemClock
from airboss.controller.mover import Mover
from airboss.domain.ports import JournalMove
from airboss.domain.record import Redacted
from airboss.store.memory import MemoryRecordLog
from airboss.telemetry.journal import JournalWriter

SEGMENT = 1 << 20
SEGMENTS = 60


class Nowhere(MemoryRecordLog):
    """A log that keeps nothing but offsets, and what memory the process has at each move."""

    def __init__(self) -> None:
        super().__init__()
        self.resident: list[int] = []

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`, of nothing."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * 4096)
        return super().apply(JournalMove(segment=move.segment, start=move.start, end=move.end))


def main(root: Path) -> None:
    """Move a long journal; print how much memory came on top of what its first segments took."""
    rng = Random(1)
    writer = JournalWriter(root, "w", segment_bytes=SEGMENT)
    for number in range(SEGMENTS * SEGMENT // 1600):
        writer.open(Redacted(b'{"id":"%036d","x":"%s"}' % (number, b"x" * rng.randrange(200, 3000))))
    writer.stop()
    log = Nowhere()
    mover = Mover(root, log, SystemClock(), batch_bytes=SEGMENT)
    moving = threading.Thread(target=mover.drain)  # as the controller's: threads have heaps of their own
    moving.start()
    moving.join()
    assert len(log.resident) >= SEGMENTS
    sys.stdout.write(str(max(log.resident) - log.resident[5]))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_long_journal_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """However many segments wait, the mover takes the memory of a few; it was that of a part of all."""
    command = [sys.executable, "-m", "tests.controller.test_mover_memory", str(tmp_path)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert grown < 4 * SEGMENT, f"{grown:,} bytes more after {SEGMENTS} segments of {SEGMENT:,}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
