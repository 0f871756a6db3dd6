"""What nobody decides lapses, and who asks without end does not notify without end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airboss.console.api_audit import entry
from airboss.controller.lapsing import EVERY_S, Lapsing
from airboss.domain.errors import SetupError
from airboss.governance.approvals import LASTS, NOTICES_MAX, NOTIFIED, REST, link, tell
from airboss.store.proposal_rows import Proposal
from tests.console.looped import LoopSite
from tests.console.test_approvals import SLOWER, asked, decide, ella, site

__all__ = ["site"]  # the fixture


class Ticking:
    """A chore over a site's ledger, and its clock."""

    def __init__(self, site: LoopSite) -> None:
        self.site, self.at, self.broken = site, 0.0, False
        loop = site.loop
        self.chore = Lapsing(loop.ledger, loop.proposals, site.audit, tell=self._tell, clock=self)

    def now(self) -> datetime:
        """The site's."""
        return self.site.loop.clock.now()

    def monotonic(self) -> float:
        """A minute later with each tick."""
        return self.at

    def _tell(self, lapsed: Proposal) -> None:
        if self.broken:
            raise SetupError("killed here")
        desk = self.site.desk()
        tell(desk.alerts, desk.in_force(), lapsed, link=link("http://x/"), redact=str, at=self.now())

    def after(self, time: timedelta) -> None:
        """Look again then."""
        self.site.loop.clock.at += time
        self.at += EVERY_S
        self.chore.tick()


@pytest.fixture
def ticking(site: LoopSite) -> Ticking:
    """The chore."""
    return Ticking(site)


def states(site: LoopSite) -> list[str]:
    """Of all, the newest first."""
    return [each["state"] for each in ella(site).get("/api/v1/approvals").json()["approvals"]]


def notices(site: LoopSite, alarm: str = NOTIFIED) -> list[Any]:
    """What notifiers are told, the newest first."""
    return [each.body for each in site.loop.alerts.notifications(alarm, limit=999)]


def test_what_nobody_decides_lapses(site: LoopSite, ticking: Ticking) -> None:
    """After a week, in the audit log and told; it is not made any more, and can be asked for anew."""
    number = asked(site)
    (row,) = ella(site).get("/api/v1/approvals").json()["approvals"]
    asked_at = datetime.fromisoformat(row["at"])
    assert datetime.fromisoformat(row["lapses_at"]) == asked_at + LASTS
    ticking.after(LASTS - timedelta(seconds=1))
    assert states(site) == ["waiting"]
    ticking.after(timedelta(seconds=1))
    assert states(site) == ["lapsed"]
    (row,) = ella(site).get("/api/v1/approvals?state=lapsed").json()["approvals"]
    assert (row["decided_by"], row["said"], row["lapses_at"]) == (
        "airboss",
        "nobody decided within 7 days",
        None,
    )
    leaf = entry(site.audit.newest(limit=1)[0])
    assert (leaf.action, leaf.actor, leaf.detail["proposal"]) == ("approvals.lapse", "airboss", number)
    lapsed = notices(site)[0]
    assert (lapsed["state"], lapsed["proposal"], lapsed["decided_by"]) == ("lapsed", number, "airboss")
    what = f"a change of the configuration ({number}) that otto asked for"
    assert lapsed["text"] == f"{what} has lapsed: nobody decided within 7 days"
    for word in ("approve", "reject"):
        late = decide(ella(site), number, word)
        assert (late.status_code, late.json()["error"]["code"]) == (400, "already_decided")
    assert "above = 4000" in (site.loop.ledger.config() or "")
    assert asked(site) == number + 1
    page = ella_sees(site)
    assert "lapsed</span>" in page
    assert "; lapses <time" in page


def ella_sees(site: LoopSite) -> str:
    """The page."""
    text: str = site.person("admin").get("/governance/approvals").text
    return text


def test_it_is_not_made_before_the_chore_comes(site: LoopSite) -> None:
    """Its time counts, also where nobody looked since; asked for anew, it waits beside."""
    number = asked(site)
    site.loop.clock.at += LASTS
    late = decide(ella(site), number)
    assert (late.status_code, late.json()["error"]["code"]) == (400, "lapsed")
    assert "above = 4000" in (site.loop.ledger.config() or "")
    assert asked(site) == number + 1
    assert decide(ella(site), number, "reject").status_code == 200


def test_who_is_killed_lets_all_of_it_lapse_or_nothing(site: LoopSite, ticking: Ticking) -> None:
    """Leaf, notice and state come together."""
    asked(site)
    leaves = len(site.audit.newest(limit=99))
    ticking.broken = True
    with pytest.raises(SetupError):
        ticking.after(LASTS)
    assert (states(site), len(site.audit.newest(limit=99))) == (["waiting"], leaves)
    ticking.broken = False
    ticking.after(timedelta())
    assert (states(site), len(site.audit.newest(limit=99))) == (["lapsed"], leaves + 1)


def test_who_asks_and_takes_back_without_end_notifies_so_often(site: LoopSite) -> None:
    """Within an hour; the rest is told as one at its end, and another's is told as ever."""
    site.loop.clock.at = site.loop.clock.at.replace(minute=10)
    for number in range(NOTICES_MAX):
        assert decide(site.program("operator"), asked(site, f"{SLOWER}# {number}\n"), "reject").is_success
    assert len(notices(site)) == NOTICES_MAX
    (rest,) = site.loop.alerts.notifications(REST, limit=9)
    until = site.loop.clock.at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    assert (rest.due_at, rest.body["by"], rest.body["state"]) == (until, "otto", "rest")
    assert f"until {until:%H:%M} UTC" in rest.body["text"]
    assert not [each for each in due(site) if each.alarm == REST]
    asked(site, f"{SLOWER}# anna\n", role="admin")
    assert notices(site)[0]["by"] == "anna"
    site.loop.clock.at = until
    assert [each.alarm for each in due(site)] == [NOTIFIED, REST]
    number = asked(site)
    assert notices(site)[0]["proposal"] == number
    assert len(notices(site, REST)) == 1


def due(site: LoopSite) -> Any:
    """What would be sent now."""
    return site.loop.alerts.due(site.loop.clock.at, limit=999)


def test_a_clock_set_back_holds_up_nobody(site: LoopSite) -> None:
    """What was to wait for an hour that is gone is told."""
    site.loop.clock.at = site.loop.clock.at.replace(minute=10)
    for number in range(NOTICES_MAX + 1):
        asked(site, f"{SLOWER}# {number}\n")
    site.loop.clock.at -= timedelta(days=2)
    assert [each.alarm for each in due(site)] == [NOTIFIED, REST]
