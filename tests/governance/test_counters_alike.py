"""What counts in a server and what counts here go by the same numbers."""

from __future__ import annotations

import re

from airboss.controller.status import SILENT
from airboss.governance import counters_service, counting, windows
from airboss.governance.counters_valkey import SCRIPT
from airboss.telemetry.metrics import GONE_S


def said(name: str) -> float:
    """A number of the script."""
    found = re.search(rf"^local {name} = ([\d.]+)", SCRIPT.decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def test_a_worker_is_gone_after_as_long_wherever_it_is_asked() -> None:
    """For who counts, here and in a server, for what scales and for `status`."""
    ticks_s = counters_service.GONE_TICKS * counters_service.TICK_S
    assert {ticks_s, said("GONE_S"), SILENT.total_seconds()} == {GONE_S}


def test_a_server_counts_by_the_same_numbers() -> None:
    """Windows, leases and how long what is not asked for is kept."""
    of_windows = {name: getattr(windows, name) for name in ("SLOTS", "SLOT_S")}
    of_counts = {
        name: getattr(counting, name)
        for name in ("LEASE_SHARE", "MONEY_LEASE_SHARE", "FORGET_S", "FORGET_USER_S")
    }
    here = of_windows | of_counts
    assert {name: said(name) for name in here} == here
