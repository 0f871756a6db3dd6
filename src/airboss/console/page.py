"""What a room's module of pages gives: a table of its pages, and one of what their forms do.

A page is a function from a visit to a view. An action is a function from a form to the address to go on to:
it calls the very code of the admin API (`Form.call` makes what that code takes), so that a button and a
program do the same, and both leave the same word in the audit log. Who may post is the guard's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from airboss.config.types import Role
from airboss.console.callers import NOBODY, Caller
from airboss.console.desk import Desk
from airboss.console.query import RANGES, TIME_NAMES, Period, read_period
from airboss.console.render import Templates, Visit
from airboss.console.route import Call
from airboss.console.wire import encode
from airboss.domain.errors import ApiError, ConfigError, InvalidRequest, WrongCall
from airboss.domain.plan import ServingPlan

FIELD_CHARS_MAX = 500
"""Of one field of a form, unless its action takes more."""
ACTION_MAX = 512 * 1024
"""Bytes of a form that does something, unless its action takes more: a prompt may be in it."""

RoomName = Literal[
    "overview", "deployments", "records", "quality", "tuning", "governance", "system", "alerts", "docs"
]
"""A room of the console; its icon has the same name."""


class View:
    """What a page shows: `template` is drawn in the frame, with `values`."""

    def __init__(self, template: str, /, **values: Any) -> None:
        self.template = template
        self.values = values


Draw = Callable[[Desk, Visit], View]
"""Reads what one page shows; runs in a thread. Raises ApiError, StoreUnavailable."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A room in the rail. `path` is its first page; `key` opens it after `g`."""

    name: RoomName
    path: str
    label: str
    key: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page. `path` is as in a route, its parts in braces come as `Visit.parts`.

    `tab` is the page's label among its room's tabs; without one the page belongs to the tab at `under`.
    `role` is the least that may open it. `params` are what its query may have. `docs` is where it is
    explained: a document and perhaps an anchor, as `how-to#find-a-call`.
    """

    path: str
    draw: Draw
    room: RoomName
    role: Role = "admin"
    params: tuple[str, ...] = ()
    tab: str = ""
    under: str = ""
    docs: str = ""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a form sent: the first value of each field, and `every` value of it; `parts` of the path."""

    fields: Mapping[str, str]
    every: Mapping[str, tuple[str, ...]]
    parts: Mapping[str, str]
    now: datetime
    caller: Caller = NOBODY

    @property
    def actor(self) -> str:
        """Who asks, for the audit log."""
        return self.caller.actor(program=False)

    def text(self, name: str, *, most: int = FIELD_CHARS_MAX) -> str:
        """A field without blanks around it, its lines ended as programs end them; empty where there is none.
        Raises InvalidRequest if too long."""
        return self.said(name, most=most, bare=True)

    def said(self, name: str, *, most: int, bare: bool = False) -> str:
        """As `text`, with the blanks around it where it is more than blanks: they may be part of what an
        answer is compared with. `bare`: without them."""
        found = self.fields.get(name, "")
        found = found.strip() if bare or not found.strip() else found
        found = found.replace("\r\n", "\n")
        if len(found) > most:
            raise InvalidRequest(f"{name} has {len(found):,} characters, of at most {most:,}", param=name)
        return found

    def needed(self, name: str, *, most: int = FIELD_CHARS_MAX) -> str:
        """As `text`. Raises InvalidRequest where it is empty."""
        found = self.text(name, most=most)
        if not found:
            raise InvalidRequest(f"{name} is empty; say in 1 to {most:,} characters", param=name)
        return found

    def call(self, intent: object = None, **path: str) -> Call:
        """The call that a program would make: `intent` is its body, `path` fills parts of the path."""
        body = b"" if intent is None else encode(intent)
        return Call(
            params={},
            path={**self.parts, **path},
            body=body,
            now=self.now,
            actor=self.actor,
            caller=self.caller,
        )


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """A page that an action ends with because it cannot be shown again: it holds a secret, or a text that is
    not kept, which must stand in no address. `status` is the answer's: that of an error where one is told."""

    view: View
    room: RoomName
    tab: str
    status: int = 200


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What one form does. `act` returns the path to go on to, where `done` is said, once; or the page itself.

    It runs in a thread. What it raises on purpose (ApiError, WrongCall, ConfigError) is shown as a page that
    says that nothing was changed and leads back. `role` is the least that may do it; `body_max` bounds the
    form, in bytes.
    """

    name: str
    path: str
    act: Callable[[Desk, Form], str | Once]
    done: str
    role: Role = "admin"
    body_max: int = ACTION_MAX


def asking(seen: Visit, **params: str) -> Call:
    """The call that a program would make to see what a page is about: `params` are its query."""
    actor = seen.caller.actor(program=False)
    return Call(params=params, path=seen.parts, body=b"", now=seen.now, actor=actor, caller=seen.caller)


def need(desk: Desk, seen: Visit, needed: Role, what: str) -> None:
    """As `Call.need`, for who looks at a page."""
    asking(seen).need(desk, needed, what)


def act(action: Action, desk: Desk, form: Form) -> str | Once:
    """Do it, with every refusal as an ApiError, as `route.answer` does."""
    try:
        return action.act(desk, form)
    except ApiError:
        raise
    except WrongCall as error:
        raise InvalidRequest(str(error), code="wrong_call") from error
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config") from error


def drawn(desk: Desk, templates: Templates, seen: Visit, view: View) -> str:
    """A view as HTML, in the frame: with the plan in force, how many alarms fire, and how many changes wait
    for who may approve them."""
    waiting = desk.proposals.waiting() if seen.caller.may("operator") else 0
    known = {"plan": current_plan(desk), "firing": len(firing_since(desk)), "waiting_changes": waiting}
    return templates.page(view.template, seen, **{**known, **view.values})


def current_plan(desk: Desk) -> ServingPlan | None:
    """The newest plan."""
    snapshot = desk.ledger.snapshot()
    return snapshot.plan if snapshot is not None else None


def period_of(desk: Desk, seen: Visit) -> Period:
    """The period that a page is about. Unless its query says, the shortest range that holds all since this
    Airboss began, up to a day: of a first hour, a day's chart would show a dot at its end."""
    first = None if any(seen.params.get(each) for each in TIME_NAMES) else desk.ledger.plan(1)
    age_s = (seen.now - first.created_at).total_seconds() if first is not None else RANGES["24h"]
    usual = next(key for key, length_s in RANGES.items() if length_s >= min(age_s, RANGES["24h"]))
    return read_period(seen.params, now=seen.now, local=seen.zone, default=usual)


def silenced(desk: Desk, now: datetime) -> dict[str, str]:
    """The alarms that somebody has silenced, and why."""
    return {name: each.reason for name, each in desk.alerts.silences().items() if now < each.until}


def firing_since(desk: Desk) -> dict[str, datetime]:
    """The alarms that fire, and since when."""
    return {name: each.since for name, each in desk.alerts.alarms().items() if each.phase == "firing"}
