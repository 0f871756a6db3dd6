"""Providers: how each place does, on the page and in the admin API."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.console.views_providers import shown
from airboss.domain.status import BreakerStatus
from airboss.telemetry.metrics import TargetUse
from tests.console.site import NOW, Ledger, Site
from tests.console.test_pages import shown as page_of

OPENAI = "https://openai.example/v1"


def uses() -> list[TargetUse]:
    """What workers have seen: one place that fails, and another key of it that does well."""
    return [
        TargetUse(
            "openai",
            "gpt-4o-mini",
            OPENAI,
            "env:KEY_A",
            2,
            1,
            90,
            30,
            4,
            45.0,
            "upstream_unavailable",
            {"upstream_unavailable": 25, "timeout_first_token": 5, "rate_limit_exceeded": 60},
            rate_limited=60,
            refused=20,
            last_status=503,
        ),
        TargetUse("openai", "gpt-4o-mini", OPENAI, "env:KEY_B", 0, 0, 10, 0, 0, 2.5),
        TargetUse("gone", "nobody", "https://gone.example/v1", ""),
    ]


@pytest.fixture
def busy(site: Site) -> Site:
    """A console whose gateways have asked."""
    site.targets = uses
    return site


def test_the_api_tells_each_place(busy: Site) -> None:
    """Breaker, attempts, failures by error, latency and the last failure; also of whom nobody has asked."""
    found = busy.program().get("/api/v1/providers").json()["targets"]
    mini = [each for each in found if each["model"] == "gpt-4o-mini"]
    assert mini[0] == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "kind": "openai",
        "url": OPENAI,
        "key": "env:KEY_A",
        "roles": ["support"],
        "breaker": "open",
        "attempts": 200,
        "failed": 30,
        "rate_limited": 60,
        "refused": 20,
        "failures": {"upstream_unavailable": 25, "timeout_first_token": 5, "rate_limit_exceeded": 60},
        "opened": 4,
        "outstanding": 1,
        "first_output_ms": 500.0,
        "last_failure": "upstream_unavailable",
        "last_status": 503,
    }
    assert [(each["key"], each["breaker"]) for each in mini[1:]] == [("env:KEY_B", "closed")]
    never = next(each for each in found if each["provider"] == "together")
    assert (never["breaker"], never["attempts"], never["last_failure"]) == (None, 0, None)
    assert "gone" not in {each["provider"] for each in found}


def test_the_api_wants_the_admin_key(busy: Site) -> None:
    """As all of it does; and it takes no parameters."""
    assert busy.client().get("/api/v1/providers").status_code == 401
    wrong = busy.program().get("/api/v1/providers?deployment=support")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "deployment")


def test_the_api_before_the_first_plan() -> None:
    """Nobody to ask is an empty list."""
    assert Site(ledger=Ledger(None, None)).program().get("/api/v1/providers").json() == {"targets": []}


def test_the_page_tells_each_place(busy: Site) -> None:
    """The same on the page, in words."""
    page = busy.person().get("/system/providers").text
    assert "open</span>" in page
    assert "opened 4" in page
    assert "upstream_unavailable" in page
    assert "env:KEY_B" in page
    assert "not asked yet" in page
    assert 'data-label="Failed %" class="num">15.0<br><span class="hint">30.0 rate limited<' in page
    assert 'data-label="First output ms" class="num">500<' in page
    assert "20 refused" in page
    assert "gone.example" not in page
    assert page.count('<tr class="first">') == page.count('<th scope="rowgroup"') > 1


def test_the_page_marks_the_places_that_are_out(busy: Site) -> None:
    """A place that lets no call through is marked where its breaker stands, which may be closed."""
    place: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "url": OPENAI}
    busy.breakers = (
        BreakerStatus(**place, key="env:KEY_A", state="open"),
        BreakerStatus(
            **place,
            key="env:KEY_B",
            state="closed",
            out_since=NOW,
            limited="rate_limited",
            deployments=("support",),
            stranded=("support",),
        ),
    )
    rows = busy.person().get("/system/providers").text.split("</tr>")
    first = next(row for row in rows if "env:KEY_A" in row)
    other = next(row for row in rows if "env:KEY_B" in row)
    assert "since" not in first
    assert "closed</span>" in other
    assert ">rate limited since" in other
    assert 'class="step"' not in first
    assert "Calls of support have nobody else to go to. " in other.partition('class="step">')[2]


def test_a_model_is_tested_where_it_serves(busy: Site) -> None:
    """Under the limits and the policy of its own deployment, and not of another's."""
    plan = busy.ledger.served
    assert plan is not None
    serve = {each.stable.digest: each.name for each in plan.deployments}
    asked = [each.asked_by for each in shown(plan, []) if each.asked_by is not None]
    assert len({each.deployment for each in asked}) > 1
    assert all(serve.get(each.release, each.deployment) == each.deployment for each in asked)


def test_the_page_before_the_first_plan() -> None:
    """It says what a provider is, and how to get one."""
    page = Site(ledger=Ledger(None, None)).person().get("/system/providers").text
    assert "Nobody to ask yet" in page


def test_names_are_shown_as_text(site: Site) -> None:
    """What an upstream calls its errors is no markup."""
    site.targets = lambda: [
        TargetUse("openai", "gpt-4o-mini", OPENAI, "", 0, 0, 1, 1, 0, 0.1, "<script>alert(1)</script>")
    ]
    page = site.person().get("/system/providers").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(("content", "words"), [("true", "with what was said"), ("false", "without what")])
def test_the_page_says_where_calls_are_sent_on(busy: Site, content: str, words: str) -> None:
    """Whether what was said leaves is one look away; where nothing is sent on, that is said."""
    assert "sends calls on to nobody" in shown_page(busy)
    otlp = f'{{ endpoint = "https://otlp.example.com", content = {content} }}'
    busy.ledger.text = f"[telemetry]\notlp = {otlp}\n"
    page = shown_page(busy)
    assert "https://otlp.example.com" in page
    assert words in page


def shown_page(site: Site) -> str:
    """The page, as text."""
    return page_of(site.person(), "/system/providers").text
