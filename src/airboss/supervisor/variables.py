"""What a process is told by variables of its environment: apart, as some load little else."""

from __future__ import annotations

LISTEN_ENV = "AIRBOSS_LISTEN_FD"
# `[store] records = "env:AIRBOSS_RECORDS"` is what somebody would write: what is ours has names of its own.
COUNTERS_ENV = "AIRBOSS_UP_COUNTERS"
"""Set for gateways whose limits are counted in a process of its own."""
RECORDS_ENV = "AIRBOSS_UP_RECORDS"
"""Set for the store: where records are kept as long as this run lasts, as `[store] records` says."""
ENGINE_ENV = "AIRBOSS_UP_ENGINE"
"""Set for a replica: `Placement.settings` of what it was placed with."""
