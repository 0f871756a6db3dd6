"""What every test may count on, however the run was started."""

from __future__ import annotations

import os
import signal

# A shell that runs the tests in the background has them ignore Ctrl-C, and the processes that tests start
# would inherit that. A handler of Python's own is not inherited: they start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Containers often set these, people's machines do not: what is written to a closed pipe then fails at exit.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)
