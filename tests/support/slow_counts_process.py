"""A gateway worker whose limits are slow to answer once: the first question lies there, as `asked` beside its
journal says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airboss.governance.counters_local import LocalCounters
from airboss.governance.counting import Want
from tests.support.gateway_process import main

if __name__ == "__main__":
    asked, ask = Path(sys.argv[2]).with_name("asked"), LocalCounters.ask

    def slow(self: LocalCounters, wants: Sequence[Want]) -> Any:
        """As `Counters.ask`."""
        if asked.exists():
            return ask(self, wants)
        asked.touch()
        return asyncio.get_running_loop().create_future()

    LocalCounters.ask = slow  # type: ignore[method-assign]  # the worker makes its own
    main()
