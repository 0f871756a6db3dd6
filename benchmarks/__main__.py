"""Every benchmark, one after the other: `python -m benchmarks`, or `make bench`.

The longest come last, so that who stops early has most of it. Arguments are those of `benchmarks.gateway`.
"""

from __future__ import annotations

import sys
import time

from benchmarks import (
    alike,
    bias,
    dashboards,
    footprint,
    gateway,
    ingest,
    limits,
    monitors,
    records,
    rollouts,
    screening,
    tuning,
)

for part, arguments in (
    (gateway, sys.argv[1:]),
    (limits, []),
    (records, []),
    (dashboards, []),
    (ingest, ["--seconds", "5"]),
    (footprint, []),
    (screening, []),
    (alike, []),
    (rollouts, []),
    (monitors, []),
    (bias, []),
    (tuning, []),
):
    began = time.monotonic()
    part.main(arguments)
    print(f"\n{part.__name__}: {time.monotonic() - began:.0f} s\n", flush=True)
