"""As `gateway_process`, with the process that stands in for the one that finds names: the last argument is
the file that keeps that one away."""

from __future__ import annotations

import sys

from airboss.governance import recogniser
from tests.support import gateway_process

if __name__ == "__main__":
    recogniser.COMMAND = (sys.executable, "-m", "tests.support.names_standin", sys.argv.pop())
    gateway_process.main()
