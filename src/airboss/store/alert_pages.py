"""Where an alarm's messages and pages lead, and what such a link is called."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from airboss.store.alert_rows import AlarmRule
from airboss.store.alert_runs import evaluation_page

PAGES: Final = {"recording": "system", "drift": "quality/drift", "probe": "quality/bias"}
"""Of kinds of alarms that are about no list of calls."""

CALLS: Final = "Show the calls"
LINKS: Final = {
    "drift": "Show what drifted",
    "probe": "Show the probes",
    "eval": "Show the evaluation",
    "recording": "Show the system",
}
"""What their links are called."""


def alarm_url(console_url: str, name: str) -> str:
    """An alarm's own page."""
    return f"{console_url.rstrip('/')}/alerts/{quote(name, safe='')}"


def page_of(rule: AlarmRule, memory: object) -> str | None:
    """The page that tells of what an alarm is about, without the first `/`; `memory` as in `AlarmRow`. None:
    a list of calls does."""
    return spent_page(rule.team, rule.tag) or evaluation_page(rule, memory) or PAGES.get(rule.kind)


def spent_page(team: str, tag: str) -> str | None:
    """The page of what teams spent, with each of their keys, or of what values of a tag did: no list is of
    the calls of several. None: the alarm is of neither."""
    by = "team,key" if team else f"tag:{tag}" if tag else None
    return f"explore?{urlencode({'group_by': by, 'metric': 'cost_usd', 'range': '30d'})}" if by else None


def link_words(kind: Any, *, team: Any = "", tag: Any = "") -> str:
    """What the link to what an alarm is about is called."""
    if team or tag:
        return f"Show what its {'keys' if team else 'values'} spent"
    return LINKS.get(kind, CALLS)
