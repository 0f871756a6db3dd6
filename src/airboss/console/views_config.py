"""The configuration on a page: what is in force, since when and by whom, and a form that changes it.

The form does what `airboss diff` and `airboss apply` do, by the same code. Nobody keeps what was written into
it: each answer holds it again.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import msgspec

from airboss.config import Config, parse_config, warnings_of
from airboss.console import api_audit, api_config, api_keys
from airboss.console.changes import difference
from airboss.console.config_story import Screened, Touched, screened_otherwise, touched
from airboss.console.desk import Desk
from airboss.console.difference import Shown, shown
from airboss.console.listing import listing
from airboss.console.page import Action, Form, Once, Page, View, current_plan
from airboss.console.render import Visit
from airboss.console.route import Call
from airboss.console.snippets import added, snippets
from airboss.console.waits import must_wait
from airboss.domain.errors import (
    AirbossError,
    ApiError,
    ConfigError,
    InvalidRequest,
    SetupError,
    StoreUnavailable,
)
from airboss.domain.plan import ServingPlan
from airboss.governance.roles import only_admins

PATH = "/system/configuration"
SOURCE = "the text"
"""What messages call what stands in the form."""
AT_LINE = re.compile(rf"{SOURCE}:(\d+): ")
APPLIED = 12
"""So many of those applied before are listed."""
AROUND = 1
"""Lines shown before and after a wrong one."""
LINE_CHARS_MAX = 200
ROWS_MIN, ROWS_MAX = 12, 34
CHANGES_MAX = 200
"""So many settings that change are shown one by one."""
KEYS_MAX = 20
"""So many keys that are screened otherwise are named."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the text that an error is shown beside."""

    number: int
    text: str
    wrong: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing was done. `rows` are the lines that it is about, if it is about any; `meanwhile` is what
    somebody else has changed since the text was begun."""

    words: str
    line: int | None = None
    rows: tuple[Row, ...] = ()
    meanwhile: tuple[Shown, ...] = ()


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What the text would change: `total` settings, and the first of them. `same`: it is the very text in
    force. `admins` is what of it is for an admin, where the caller is none. Of keys that it has `screened`
    otherwise the first, `keys` in all."""

    changes: tuple[Shown, ...]
    total: int
    warnings: tuple[str, ...]
    touched: tuple[Touched, ...]
    screened: tuple[Screened, ...]
    keys: int
    same: bool
    admins: str | None


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A text, the plan whose configuration it is to change, and what was said of it. `origin` is the plan
    that the text was taken from, where that is another."""

    text: str
    plan: int
    origin: int | None = None
    problem: Problem | None = None
    compared: Compared | None = None

    @property
    def rows(self) -> int:
        """Of the field."""
        return min(max(self.text.count("\n") + 2, ROWS_MIN), ROWS_MAX)


class AppliedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that was applied, as the audit log has it; `actor` None: erased."""

    plan: int | None
    at: datetime | None
    actor: str | None
    reason: str
    changes: int
    paths: tuple[str, ...]


def page(desk: Desk, seen: Visit) -> View:
    """What is in force. For who may change it a form, which begins with it or with that of another plan."""
    call = Call(params={}, path={}, body=b"", now=seen.now, caller=seen.caller)
    wanted = seen.params.get("from")
    if wanted is not None:
        call.need(desk, "operator", "an earlier configuration")
        earlier = api_config.config(desk, msgspec.structs.replace(call, params={"plan": wanted}))
        return view(desk, call, Edit(text=earlier.config or "", plan=number(desk), origin=earlier.plan))
    return view(desk, call, Edit(text=desk.ledger.config() or "", plan=number(desk)))


def view(desk: Desk, call: Call, edit: Edit) -> View:
    """The page around a form."""
    text, plan = desk.ledger.config(), current_plan(desk)
    config = api_config.parsed(text)
    applied = applied_before(desk, call)
    return View(
        "configuration.html",
        config=config if text is not None else None,
        tables=counted(config),
        applied=applied,
        untouched=bool(applied) and api_config.config_of(desk, applied[0].plan or 0) == text,
        file=desk.own_file(),
        warnings=(*warnings_of(config), *(standing(desk, plan, config) if plan is not None else ())),
        edit=edit,
        snippets=snippets(read(edit.text) or config),
        waits=must_wait(desk, call.caller),
    )


def standing(desk: Desk, plan: ServingPlan, config: Config) -> tuple[str, ...]:
    """What to say of a plan that is served: secrets that it lacks, and keys that it refuses."""
    return (*desk.lacking(plan, config), *api_keys.refusals(desk, plan))


def counted(config: Config) -> list[str]:
    """How much stands in it, in words."""
    found = {
        ("release", "releases"): len(config.releases),
        ("model", "models"): len(config.models),
        ("policy", "policies"): len(config.policies),
        ("alarm", "alarms"): len(config.alarms),
        ("key", "keys"): len(config.keys),
    }
    return [f"{many} {one if many == 1 else more}" for (one, more), many in found.items() if many]


def applied_before(desk: Desk, call: Call) -> list[AppliedRow]:
    """The configurations that people have applied, the newest first."""
    asked = msgspec.structs.replace(call, params={"action": "config.apply", "limit": str(APPLIED)})
    return [applied_row(each) for each in api_audit.audit_entries(desk, asked).entries]


def applied_row(entry: api_audit.Entry) -> AppliedRow:
    """One of them. What somebody has changed in the log by hand is left out."""
    detail = entry.detail
    plan, changes, paths = (detail.get(name) for name in ("plan", "changes", "paths"))
    try:
        at = datetime.fromisoformat(entry.at)
    except ValueError:
        at = None
    return AppliedRow(
        plan=plan if isinstance(plan, int) else None,
        at=at,
        actor=entry.actor,
        reason=str(detail.get("reason") or ""),
        changes=changes if isinstance(changes, int) else 0,
        paths=tuple(str(each) for each in paths) if isinstance(paths, list) else (),
    )


def number(desk: Desk) -> int:
    """Of the plan in force; 0 before the first."""
    plan = current_plan(desk)
    return plan.number if plan is not None else 0


def read(text: str) -> Config | None:
    """A text that may be wrong; None where it is."""
    try:
        return parse_config(text, source=SOURCE)
    except ConfigError:
        return None


def compare(desk: Desk, form: Form) -> Once:
    """Show what a text would change, maybe with a ready-made piece put into it first. Changes nothing."""
    edit = sent(form)
    try:
        if form.text("add"):
            edit = with_piece(desk, edit, form.text("add"))
        edit = msgspec.structs.replace(edit, text=listing(desk, form.caller, edit.text, source=SOURCE))
        api_config.check_begun(desk, edit.plan or None)
        return once(desk, form, msgspec.structs.replace(edit, compared=compared(desk, form, edit.text)))
    except ApiError as error:
        return refused(desk, form, edit, error)


def apply(desk: Desk, form: Form) -> str | Once:
    """Put a text into force, or show why it cannot be."""
    edit = sent(form)
    try:
        said = {
            "config": edit.text,
            "source": SOURCE,
            "reason": form.needed("reason"),
            "plan": edit.plan or None,
        }
        api_config.apply(desk, form.call(said))
    except (ApiError, SetupError) as error:
        return refused(desk, form, edit, error)
    return PATH


def sent(form: Form) -> Edit:
    """What a form holds; browsers send lines with the ends of Windows. Raises InvalidRequest."""
    plan = form.text("plan")
    if not plan.isascii() or not plan.isdigit() or len(plan) > 9:
        raise InvalidRequest(f"plan={plan[:40]!r} is no number of a plan; open the page anew", param="plan")
    return Edit(text=form.fields.get("text", "").replace("\r\n", "\n"), plan=int(plan))


def with_piece(desk: Desk, edit: Edit, wanted: str) -> Edit:
    """The text with a ready-made piece in it. Raises InvalidRequest where there is none of that name."""
    config = read(edit.text) or api_config.parsed(desk.ledger.config())
    for piece in snippets(config):
        if piece.name == wanted:
            return msgspec.structs.replace(edit, text=added(edit.text, piece))
    raise InvalidRequest(f"there is no ready-made piece {wanted[:40]!r}", param="add")


def compared(desk: Desk, form: Form, text: str) -> Compared:
    """What a text would change. Raises InvalidRequest where it is wrong."""
    found = api_config.diff(desk, form.call({"config": text, "source": SOURCE}))
    before, after = api_config.parsed(desk.ledger.config()), api_config.parsed(text)
    screened = screened_otherwise(before, after, desk.ledger.all_keys())
    return Compared(
        changes=shown(found.changes[:CHANGES_MAX]),
        total=len(found.changes),
        warnings=found.warnings,
        touched=touched(before, after, calls_of_a_day(desk, form.now)),
        screened=screened[:KEYS_MAX],
        keys=len(screened),
        same=text == desk.ledger.config(),
        admins=None if form.caller.may("admin") else only_admins(before, after),
    )


def calls_of_a_day(desk: Desk, now: datetime) -> dict[str, int] | None:
    """How many calls each deployment had; None while records cannot be read."""
    try:
        return {each.deployment: each.requests for each in desk.log.stats(now - timedelta(days=1), now)}
    except StoreUnavailable:
        return None


def refused(desk: Desk, form: Form, edit: Edit, error: AirbossError) -> Once:
    """The form as it was sent, with why nothing was done. Who is told what changed meanwhile goes on from
    there."""
    status = error.http_status if isinstance(error, ApiError) else 503
    if isinstance(error, ApiError) and error.code == "config_changed":
        was, now = api_config.config_of(desk, edit.plan), desk.ledger.config()
        changes = difference(was, now, source="it").changes if was is not None and now is not None else ()
        problem = Problem(words=str(error), meanwhile=shown(changes[:CHANGES_MAX]))
        edit = msgspec.structs.replace(edit, plan=number(desk), problem=problem)
    else:
        edit = msgspec.structs.replace(edit, problem=told(str(error), edit.text))
    return once(desk, form, edit, status=status)


def told(message: str, text: str) -> Problem:
    """An error with the lines that it is about."""
    place = AT_LINE.match(message)
    if place is None:
        return Problem(words=message)
    line, lines = int(place[1]), text.split("\n")
    rows = [
        Row(number=at, text=lines[at - 1][:LINE_CHARS_MAX], wrong=at == line)
        for at in range(max(1, line - AROUND), min(len(lines), line + AROUND) + 1)
    ]
    return Problem(words=message[place.end() :], line=line, rows=tuple(rows))


def once(desk: Desk, form: Form, edit: Edit, *, status: int = 200) -> Once:
    """The page, with what a form held."""
    drawn = view(desk, msgspec.structs.replace(form.call(), params={}), edit)
    return Once(view=drawn, room="system", tab=PATH, status=status)


PAGES: tuple[Page, ...] = (
    Page(
        path=PATH,
        draw=page,
        params=("from",),
        role="viewer",
        room="system",
        tab="Configuration",
        docs="how-to#change-the-configuration-in-the-console",
    ),
)
"""The page of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="config.compare",
        path=f"{PATH}/compare",
        act=compare,
        role="operator",
        done="",
        body_max=api_config.CONFIG_MAX,
    ),
    Action(
        name="config.apply",
        path=PATH,
        act=apply,
        role="operator",
        done="Applied: every gateway serves by it. What was in force before can be had back below.",
        body_max=api_config.CONFIG_MAX,
    ),
)
"""What its form does."""
