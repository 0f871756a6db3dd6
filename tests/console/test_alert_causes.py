"""What an alarm's page says of why its calls fail: what they met, and who does not answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.domain.record import Attempt
from airboss.domain.status import BreakerStatus, SystemStatus
from tests.console.looped import LoopSite, opened
from tests.console.site import put
from tests.console.test_pages import hrefs, shown
from tests.store.samples import record
from tests.support.seed_alarms import row
from tests.support.seed_loop import OLD_PROMPT

OUT = BreakerStatus(
    provider="main", model="m", url="http://m/v1", state="open", last_failure="upstream_error"
)


def sick(site: LoopSite, deployment: str) -> SystemStatus:
    """A status in which the one place of a deployment is out."""
    at = site.loop.clock.at
    out = msgspec.structs.replace(
        OUT, out_since=at - timedelta(minutes=9), deployments=(deployment,), stranded=(deployment,)
    )
    return msgspec.structs.replace(site.loop.status(), breakers=(out,))


def test_a_page_says_what_calls_met_and_who_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a link to the providers; while it fires. Nothing of another deployment's provider is said."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        at = site.loop.clock.at
        fails = Attempt("main", "m", "http://m/v1", 0.0, 1.0, status_code=500, error_type="upstream_error")
        began = at - timedelta(minutes=1)
        call = {"deployment": "support", "started_at": began, "status": "error", "attempts": (fails,)}
        put(site.log, *(record(n, **call, error_type="upstream_error") for n in range(3)))
        for phase, status, said in (
            ("firing", sick(site, "support"), True),
            ("ok", sick(site, "other"), False),
        ):
            given = row(site.loop, "errors", "error_rate", bound=0.05, phase=phase, since=began, value=1.0)
            site.loop.alerts.put_alarms([given])
            monkeypatch.setattr(site.loop, "status", lambda status=status: status)
            page = shown(site.person(), "/alerts/errors")
            assert ("They met mostly upstream_error (500) from main/m." in page.text) is said
            assert ("main/m has not answered since" in page.text) is said
            assert ("/system/providers" in hrefs(page)) is said
