"""Templates: the environment they share, and the frame that every page stands in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from airboss.console import text
from airboss.console.callers import NOBODY, Caller
from airboss.console.query import RANGES, filled, iso, zone
from airboss.store.wording import level, many

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
PAGES = HERE / "pages"
STATIC = HERE / "static"
THEMES = ("light", "dark")
THEME_COOKIE = "airboss_theme"
ZONE_COOKIE = "airboss_tz"
DONE_COOKIE = "airboss_done"
"""Names the action that was just carried out, so that the next page says so."""
CALLER = "airboss.caller"
"""Where the guard puts who asks, in a request's scope."""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks at a page, and how: read once from the request. `params` holds no empty values.

    `parts` are those of the path. `room` and `tab` say where the page stands in the frame. `done` names the
    action that led here, None otherwise. `caller` is who looks, and as what. `docs` is as a page's.
    """

    path: str
    params: dict[str, str]
    now: datetime
    zone: tzinfo
    zone_name: str
    theme: str | None
    parts: dict[str, str] = {}
    room: str = ""
    tab: str = ""
    done: str | None = None
    caller: Caller = NOBODY
    docs: str = ""

    @property
    def self_url(self) -> str:
        """The page's own address."""
        return url(self.path, self.params)


def visit(request: Request, now: datetime) -> Visit:
    """Read a request. A theme or a time zone that is not known is as good as none."""
    local = zone(request.cookies.get(ZONE_COOKIE))
    theme = request.cookies.get(THEME_COOKIE)
    return Visit(
        path=request.url.path,
        params={name: value for name, value in request.query_params.items() if filled(name, value)},
        now=now,
        zone=local,
        zone_name=now.astimezone(local).tzname() or "UTC",
        theme=theme if theme in THEMES else None,
        parts=dict(request.path_params),
        # A live refresh, which shows none of it, may come before the page that a person is led to.
        done=None if "hx-request" in request.headers else request.cookies.get(DONE_COOKIE),
        caller=request.scope.get(CALLER, NOBODY),
    )


def url(path: str, params: Mapping[str, str], **changes: str | None) -> str:
    """A link: `params` with some changed, and those that became None left out."""
    wanted = {name: value for name, value in {**params, **changes}.items() if value}
    return f"{path}?{urlencode(wanted, errors='replace')}" if wanted else path


def share(part: float, whole: float) -> str:
    """A length in percent of the longest, for drawing."""
    return f"{min(100.0, max(0.0, 100 * part / whole)):.1f}" if whole > 0 else "0"


def static_version() -> str:
    """A digest of all static files: it changes when one does, so that they can be cached for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def environment() -> jinja2.Environment:
    """What all templates share; made for the first page: most controllers, most of the time, show none."""
    import jinja2  # noqa: PLC0415 - as said

    version = static_version()
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals.update(
        url=url,
        share=share,
        static=lambda name: f"/static/{name}?v={version}",
        ranges_offered=tuple(RANGES),
        nil=text.NO_DATA,
        none=None,
        iso=iso,
        visible=text.visible,
        begun=text.begun,
        many=many,
        level=level,
        prose=text.prose,
        tick=text.tick,
        plain=text.plain,
        hue=text.hue,
        count=text.count,
        short=text.short,
        milliseconds=text.milliseconds,
        in_ms=text.in_ms,
        usd=text.usd,
        percent=text.percent,
        size=text.size,
    )
    return env


class Templates:
    """Draws pages. Everything put into one is escaped unless this package made it `Markup`.

    `frame` is what the frame of every page knows: the rail, the tabs of each room, what is said of an action.
    """

    def __init__(self, frame: Mapping[str, Any] | None = None) -> None:
        self._frame: Mapping[str, Any] = {"rail": (), "tabs": {}, "paths": (), **(frame or {})}
        self._notes: Mapping[str, str] = self._frame.get("notes", {})

    def page(self, name: str, seen: Visit, **values: Any) -> str:
        """One page as HTML. Times are shown in the visitor's zone, relative to now."""
        template = environment().get_template(name)
        return template.render(
            self._frame,
            theme=seen.theme,
            zone_name=seen.zone_name,
            self_url=seen.self_url,
            params=seen.params,
            here=seen.room,
            tab_here=seen.tab,
            explained=seen.docs,
            who=seen.caller,
            can=seen.caller.may,
            done=self._notes.get(seen.done or ""),
            when=lambda value, millis=False: text.moment(value, seen.zone, now=seen.now, millis=millis),
            clock=lambda value: value.astimezone(seen.zone).strftime("%H:%M"),
            on_axis=lambda mark: text.on_axis(mark.at, seen.zone, day=mark.day),
            minute=lambda value: text.moment(value, seen.zone, now=seen.now).rpartition(":")[0],
            ago=lambda value: text.age(seen.now - value if value is not None else None),
            local_input=lambda value: local_input(value, seen.zone),
            months=months(seen.now),
            **values,
        )


def local_input(value: datetime | None, local: tzinfo) -> str:
    """A time as a `datetime-local` field holds it."""
    return value.astimezone(local).strftime("%Y-%m-%dT%H:%M:%S") if value is not None else ""


def months(now: datetime) -> tuple[tuple[str, str, str | None], ...]:
    """The calendar month of now and the one before, in UTC: words, beginning, and end where it is over."""
    this = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = (this - timedelta(days=1)).replace(day=1)
    return (("This month", iso(this), None), ("Last month", iso(before), iso(this)))


def html(content: str, *, status: int = 200) -> Response:
    """A page. A lone surrogate that slipped into an attribute is written out rather than a failure."""
    return HTMLResponse(content.encode("utf-8", "backslashreplace"), status_code=status)
