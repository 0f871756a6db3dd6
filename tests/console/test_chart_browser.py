"""Charts in a real Chromium."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample
from tests.console.test_browser import visitor
from tests.support.browser import launched, served
from tests.support.seed_records import record_id

COUNTED = """
  window.dots = 0;
  const arc = Path2D.prototype.arc;
  Path2D.prototype.arc = function (...given) { window.dots += 1; return arc.apply(this, given); };
"""
LONE = 2


def test_what_stands_alone_is_seen() -> None:
    """No line leads to a lone measure, so it is a dot; in a night without traffic charts were empty."""
    log, rng = MemoryRecordLog(), Random(1)
    times = [NOW - timedelta(minutes=number / 2) for number in range(1, 60)]
    put(log, *(sample(id=record_id(rng, at), started_at=at, deployment="busy") for at in times))
    lone = [NOW - timedelta(minutes=20 * (number + 1)) for number in range(LONE)]
    put(log, *(sample(id=record_id(rng, at), started_at=at, deployment="lone") for at in lone))
    with launched() as browser, served(Site(log=log).app()) as address, visitor(browser, address) as page:
        page.add_init_script(COUNTED)
        page.goto(f"{address}/explore?range=1h&group_by=deployment")
        # Of latency and time to the first token, which are nowhere between.
        page.wait_for_function(f"window.dots >= {2 * LONE}")
