"""Low priority for a process, under whatever the kernel counts priorities."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

BACKGROUND_NICENESS: Final = 10
_THREADS: Final = Path("/proc/self/task")
_AUTOGROUP: Final = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 5, 0.12
"""The kernel takes such a change ten times a second, from all processes together."""


def give_way(*, session: bool = False) -> None:
    """Let gateways and engines go first where cores are few: what they write waits in the journal unharmed,
    and a caller does not wait for records to be sorted in. Called once all threads have begun.

    Where the kernel gives each session an equal share (sched(7), autogroup), niceness counts only among the
    threads of one. With `session` ours gives way whole: that is for the store, which only keeps records. The
    controller would take ten times as long for an evaluation beside any busy program.
    """
    for thread in _THREADS.iterdir() if _THREADS.is_dir() else [Path("0")]:
        with suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, int(thread.name), BACKGROUND_NICENESS)
    # The supervisor makes each process a session; a terminal's is not ours to slow down.
    if not session or os.getsid(0) != os.getpid() or not _AUTOGROUP.exists():
        return
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(BACKGROUND_NICENESS), encoding="ascii")
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            return
        else:
            return
