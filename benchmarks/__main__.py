"""Every benchmark, one after the other: `python -m benchmarks`, or `make bench`.

Arguments are those of `benchmarks.gateway`.
"""

from __future__ import annotations

import sys

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

gateway.main(sys.argv[1:])
print()
footprint.main([])
print()
limits.main([])
print()
screening.main([])
print()
tuning.main([])
print()
bias.main([])
print()
rollouts.main([])
print()
monitors.main([])
print()
alike.main([])
print()
records.main([])
print()
dashboards.main([])
print()
ingest.main(["--seconds", "5"])
