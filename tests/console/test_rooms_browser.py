"""Governance, tuning, bias and playground in a real Chromium: how they look, full and empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from playwright.sync_api import Browser

from airboss.console.plays import Plays
from airboss.domain.ports import Ledger
from airboss.evaluations.bias_orders import ProbeOrders
from airboss.store.jobs import SqlJobStore
from tests.console import test_bias_pages, test_tuning_pages
from tests.console.governed import governed
from tests.console.site import NOW
from tests.console.test_browser import NARROW, WIDE, pale, visitor
from tests.console.test_governance_pages import CONFIG
from tests.console.test_playground import CALL, Gateway, answered
from tests.evaluations.serving import NEW, OLD, FixedLedger, deployment, plan, standing
from tests.support.browser import launched, served
from tests.support.wait import until

EMPTY = (
    "/governance",
    "/governance/erasures",
    "/governance/report",
    "/tuning",
    "/quality/bias",
    "/playground",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests here."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A console where nothing has happened yet, and its pages."""
    with governed(tmp_path_factory.mktemp("nothing")) as site, served(site.app()) as at:
        yield at, EMPTY


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A console with something on every page, and its pages."""
    folder = tmp_path_factory.mktemp("full")
    with governed(folder) as site:
        site.jobs = SqlJobStore(f"sqlite:///{folder / 'jobs.db'}")
        ledger = FixedLedger(plan(deployment("support", OLD), others=(NEW,)), standing(NEW, OLD))
        site.probes = ProbeOrders(jobs=site.jobs, ledger=cast("Ledger", ledger), now=site.clock.now)
        tuning = test_tuning_pages.done(site)
        probe = test_bias_pages.asked(site)
        site.jobs.claim("me", NOW, 10.0)
        site.jobs.finish(probe, "me", test_bias_pages.report(), NOW)
        waiting = test_tuning_pages.asked(site)
        site.people.ask("ada", by="console", now=NOW)
        for number in range(60):
            site.audit.append(
                "keys.create", actor="console", subject=f"key k{number}", detail={"deployments": None}, at=NOW
            )
        plays = Plays(Gateway().ask)
        play = plays.start([CALL, CALL, CALL], NOW)
        until(answered(plays, play.id))
        kept: Any = site.ledger
        kept.publish(CONFIG, kept.snapshot().plan)
        paths = (
            "/governance",
            "/governance/audit",
            "/governance/keys",
            "/governance/keys/web",
            "/governance/erasures",
            "/tuning",
            f"/tuning/{tuning}",
            f"/tuning/{waiting}",
            "/quality/bias",
            f"/quality/bias/{probe}",
            "/playground",
            f"/playground?play={play.id}",
        )
        site.plays = plays
        with served(site.app()) as at:
            yield at, paths
        site.jobs.close()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1440", "390"])
def test_every_page_looks_right(
    browser: Browser,
    full: tuple[str, tuple[str, ...]],
    nothing: tuple[str, tuple[str, ...]],
    size: tuple[int, int],
) -> None:
    """At both widths, dark and light: nothing overflows sideways, every text has contrast 4.5, no errors."""
    for at, paths in (full, nothing):
        with visitor(browser, at, size, reduced_motion="reduce") as page:
            for path in paths:
                page.goto(at + path)
                wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert wide[0] <= wide[1], (path, wide)
                assert pale(page) == [], path
