"""Every page of the console, and every form: one table each, made of the rooms' own."""

from __future__ import annotations

from typing import Any

from airboss.console import (
    adding_forms,
    quality_forms,
    views,
    views_alerts,
    views_approvals,
    views_bias,
    views_config,
    views_deployments,
    views_docs,
    views_drift,
    views_explore,
    views_finetuning,
    views_governance,
    views_keys,
    views_playground,
    views_providers,
    views_quality,
    views_releases,
    views_review,
    views_scoring,
    views_session,
    views_traces,
    views_tuning,
)
from airboss.console.page import Action, Page, Room

ROOMS: tuple[Room, ...] = (
    Room(name="overview", path="/", label="Overview", key="o"),
    Room(name="deployments", path="/deployments", label="Deployments", key="d"),
    Room(name="records", path="/records", label="Records", key="r"),
    Room(name="quality", path="/quality", label="Quality", key="q"),
    Room(name="tuning", path="/tuning", label="Tuning", key="t"),
    Room(name="governance", path="/governance", label="Governance", key="v"),
    Room(name="system", path="/system", label="System", key="s"),
)
"""The rail, in order. A room whose first page is not in `PAGES` is left out: no link is dead."""

PAGES: tuple[Page, ...] = (
    *views.PAGES,
    *views_session.PAGES,
    *views_explore.PAGES,
    *views_traces.PAGES,
    *views_deployments.PAGES,
    *views_releases.PAGES,
    *views_playground.PAGES,
    *views_quality.PAGES,
    *views_review.PAGES,
    *views_scoring.PAGES,
    *views_bias.PAGES,
    *views_drift.PAGES,
    *views_tuning.PAGES,
    *views_finetuning.PAGES,
    *views_governance.PAGES,
    *views_approvals.PAGES,
    *views_keys.PAGES,
    *views_alerts.PAGES,
    *views_providers.PAGES,
    *views_config.PAGES,
    *views_docs.PAGES,
)
"""Every page. A room's module adds its rows here."""

ACTIONS: tuple[Action, ...] = (
    *views_explore.ACTIONS,
    *views_deployments.ACTIONS,
    *views_playground.ACTIONS,
    *views_quality.ACTIONS,
    *quality_forms.ACTIONS,
    *adding_forms.ACTIONS,
    *views_review.ACTIONS,
    *views_scoring.ACTIONS,
    *views_drift.ACTIONS,
    *views_keys.ACTIONS,
    *views_approvals.ACTIONS,
    *views_alerts.ACTIONS,
    *views_providers.ACTIONS,
    *views_config.ACTIONS,
)
"""Every form but those of the frame itself (login, logout, theme)."""


def frame() -> dict[str, Any]:
    """What the frame of every page knows (`render.Templates`)."""
    paths = frozenset(page.path for page in PAGES)
    return {"rail": rail(), "tabs": tabs(), "notes": notes(), "paths": paths}


def rail() -> tuple[Room, ...]:
    """The rooms that have a first page."""
    there = {page.path for page in PAGES}
    return tuple(room for room in ROOMS if room.path in there)


def tabs() -> dict[str, tuple[Page, ...]]:
    """The tabs of each room that has more than one."""
    found: dict[str, list[Page]] = {}
    for page in PAGES:
        if page.tab:
            found.setdefault(page.room, []).append(page)
    return {room: tuple(pages) for room, pages in found.items() if len(pages) > 1}


def notes() -> dict[str, str]:
    """What is said after each action, by its name."""
    return {action.name: action.done for action in ACTIONS}
