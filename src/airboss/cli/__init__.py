"""One file per verb; `main` gathers them."""

from __future__ import annotations

import atexit
import gc
import sys


@atexit.register
def end_at_once() -> None:
    """Leave what is in use at the end to the system. DuckDB would complain that it is not taken apart."""
    if "duckdb" not in sys.modules:
        gc.freeze()


# What is loaded stays. To look through it for garbage again and again while the rest is being loaded, and
# once more at the end, took a quarter of the processor time of a verb, and of a role's start and stop. This
# module is loaded before all that.
gc.set_threshold(10_000, 50)
