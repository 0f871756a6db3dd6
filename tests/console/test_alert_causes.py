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


def test_a_page_says_who_answers_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others answer a deployment's calls nothing is down, and the alarm on fallbacks fires."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        status = sick(site, "other")
        (place,) = status.breakers
        covered = msgspec.structs.replace(
            next(each for each in status.deployments if each.name == "support"),
            detail="it has not answered since 09:00 UTC; spare/m answers instead",
        )
        both = msgspec.structs.replace(place, deployments=("other", "support"))
        down = msgspec.structs.replace(covered, name="other", state="down", kind="openai", detail=None)
        status = msgspec.structs.replace(status, breakers=(both,), deployments=(covered, down))
        monkeypatch.setattr(site.loop, "status", lambda: status)
        page = shown(site.person(), "/alerts/errors")
        said = "Who is asked first for support does not answer. It has not answered since 09:00 UTC; spare/m"
        assert f"{said} answers instead." in page.text
        assert ".." not in page.text
        assert "/system/providers" in hrefs(page)
