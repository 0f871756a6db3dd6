"""A process that works at jobs of kind `slow`, started with a database, a folder, its name and a lease.

Each step of a job appends a line to FOLDER/JOB, so that a test sees who did what; steps that stand there are
passed over, as cached answers would be. FOLDER/go-N lets step N be done.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from airboss.compose.parts import SystemClock
from airboss.controller.jobs import Handler, JobRunner, Progress
from airboss.store.job_rows import Job
from airboss.store.jobs import SqlJobStore
from tests.support.wait import until

STEPS = 4


def handler(folder: Path, name: str) -> Handler:
    """Does a slow job."""

    def slow(job: Job, progress: Progress) -> object:
        path = folder / job.id
        with path.open("a") as file:
            file.write(f"{name} begins\n")
        for step in range(STEPS):
            if f" did {step}\n" in path.read_text():
                continue
            go = folder / f"go-{step}"
            until(lambda go=go: progress.stopped or go.exists(), timeout_s=60)  # type: ignore[misc]
            progress.check()
            with path.open("a") as file:
                file.write(f"{name} did {step}\n")
            progress.report(step + 1, STEPS, f"step {step}")
        return {"by": name}

    return slow


def main() -> None:
    """Work until killed, or until stdin ends."""
    database, folder, name, lease_s = sys.argv[1:]
    stop = threading.Event()
    store = SqlJobStore(database)
    runner = JobRunner(
        store,
        {"slow": handler(Path(folder), name)},
        redact=str,
        clock=SystemClock(),
        name=name,
        lease_s=float(lease_s),
        beat_s=0.05,
        poll_s=0.02,
    )
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    sys.stdin.read()
    stop.set()
    thread.join()
    store.close()


if __name__ == "__main__":
    main()
