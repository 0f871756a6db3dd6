"""What a URL asks for: a period of time and a filter over records.

Both the pages and the API read their query strings here, so one link means one thing everywhere. A value that
cannot be read is an `InvalidRequest` that says what was seen and what would be right; nothing is guessed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec

from airboss.config.checks_watch import seconds
from airboss.config.tags import TAG_CHARS_MAX, read_tag
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.plan import Arm
from airboss.domain.ports import RecordFilter
from airboss.domain.record import EXTERNAL, Status
from airboss.domain.score import read_condition
from airboss.domain.usage import RecordSort
from airboss.store.usage import LABEL_CHARS_MAX

RANGES = {"15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}
"""The ranges a page offers, in seconds."""

TIME_NAMES = ("range", "since", "until")
"""The parameters that say a period."""

RANGE_WORDS = {
    "15m": "the last 15 minutes",
    "1h": "the last hour",
    "6h": "the last 6 hours",
    "24h": "the last 24 hours",
    "7d": "the last 7 days",
    "30d": "the last 30 days",
}

RANGE_SHORT = {"15m": "15 min", "1h": "hour", "6h": "6 h", "24h": "24 h", "7d": "7 d", "30d": "30 d"}

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
"""Steps of a time series; each divides a day, so that they start at times people know."""

POINTS = 120
"""About how many steps a chart has at most."""

ANSWERS_ID = re.compile(r"(chatcmpl|cmpl|resp|msg|gen)[-_][0-9A-Za-z_-]+")
"""What ids in the bodies of answers look like."""

PERIOD_MAX = timedelta(days=366)
VALUE_MAX = 300
"""The longest value of a query parameter, in characters; but for those that callers have written."""

FILTER_NAMES = (
    "deployment", "status", "model", "user", "key", "team", "id", "text", "score", "release", "session",
    "arm", "error_type", "tag", "policy", "slower_ms", "sort",
)  # fmt: skip
"""The parameters that narrow records down or order them, besides time and paging."""

TIME_PARAMS = {
    "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
    "until": "before this: RFC 3339, or so long ago; now unless given",
}
NARROWING = {
    "deployment": "only of this deployment",
    "status": "ok, error, cancelled or refused",
    "model": "only of this model",
    "user": "only of this user",
    "key": "only by the data-plane key of this name",
    "team": "only by keys that are in this team now",
    "release": "only answered by the release of this digest, or of its first 8 digits or more",
    "session": "only of this session",
    "arm": "stable, canary, always, never, preview, shadow, override or external",
    "error_type": "only failed so",
    "tag": "only with this tag, as NAME=VALUE",
    "policy": "only those in which a policy found something of this kind, such as email",
    "slower_ms": "only those that took longer than so many milliseconds",
    "score": "a condition on a score: `helpfulness<0.5`, `tone=rude`, or a name alone",
}
"""What filters say in the API's description, where no words are looked for and nothing is ordered."""

KEYS = "keys"
"""Beside `team`, the names of its keys with commas between: what is asked of the log. Nobody sends it."""

EXPLORE_FILTERS = tuple(name for name in FILTER_NAMES if name not in ("sort", "id", "text"))
PAGE_NAMES = {
    "/": (*TIME_NAMES, "deployment", "sort"),
    "/explore": (*TIME_NAMES, *EXPLORE_FILTERS, "group_by", "and_by", "metric", "compare", "per"),
    "/records": (*FILTER_NAMES, *TIME_NAMES, "search", "before", "trail", "columns"),
}
"""The parameters of the pages whose state can be saved as a view."""

AS_SENT = ("user", "session", "tag")
"""Of these, those that callers have written: blanks around them are part of them, as for an erasure."""

YEARS = range(1970, 9000)
"""Of times that are asked for: so far from the ends of the calendar that others can be reckoned from them."""

STATUSES: tuple[str, ...] = get_args(Status)
ARMS: tuple[str, ...] = (*get_args(Arm), EXTERNAL)
SORTS: tuple[str, ...] = get_args(RecordSort)


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """`[since, until)`. `key` is the name in `RANGES`, None where the two ends were given."""

    since: datetime
    until: datetime
    key: str | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.until - self.since).total_seconds()

    @property
    def step_s(self) -> int:
        """The step of its charts: the shortest that gives at most `POINTS` of them."""
        return next((step for step in STEPS_S if self.seconds / step <= POINTS), 7 * 86_400)

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return RANGE_WORDS.get(self.key or "", "the chosen time")

    @property
    def short(self) -> str:
        """Its length in a note: "the 24 h before"."""
        return RANGE_SHORT.get(self.key or "", "time")

    @property
    def before(self) -> Period:
        """The period of the same length just before it."""
        length = self.until - self.since
        return Period(since=self.since - length, until=self.since, key=None)

    @property
    def params(self) -> dict[str, str]:
        """The query parameters that give it again."""
        if self.key is not None:
            return {"range": self.key}
        return {"since": iso(self.since), "until": iso(self.until)}


def iso(value: datetime) -> str:
    """RFC 3339 in UTC, to the second unless there is more."""
    text = value.astimezone(UTC).isoformat(timespec="auto")
    return text.replace("+00:00", "Z")


def zone(name: str | None) -> tzinfo:
    """The time zone of that IANA name; UTC where the name says nothing to this machine."""
    if not name or len(name) > 64:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return UTC
    except KeyError:
        return UTC


def check_names(params: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse a parameter that would otherwise be ignored: a misspelt filter must not show everything."""
    names = tuple(known)
    for name in params:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
            raise InvalidRequest(f"unknown query parameter {name[:60]!r}; {hint}", param=name[:60])


def read_time(text: str, name: str, *, now: datetime, local: tzinfo) -> datetime:
    """A time as people write it: RFC 3339, `2026-11-23T14:00` in `local`, or `15m` (so long before now)."""
    try:
        value = _moment(text, now=now, local=local)
    except (ValueError, OverflowError):
        value = None
    if value is None or value.year not in YEARS:
        message = (
            f"{name}={text[:60]!r} is not a time; write 2026-11-23T14:00:00Z, or 15m, 6h, 7d for so long ago"
        )
        raise InvalidRequest(message, param=name)
    return value


def _moment(text: str, *, now: datetime, local: tzinfo) -> datetime:
    ago_s = seconds(text)
    if ago_s is not None:
        return now - timedelta(seconds=ago_s)
    # A `+` in a query string arrives as a space.
    value = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    return (value if value.tzinfo is not None else value.replace(tzinfo=local)).astimezone(UTC)


def read_period(params: Mapping[str, str], *, now: datetime, local: tzinfo, default: str) -> Period:
    """The period a query string means: `since` and `until`, else `range`, else `default`."""
    if params.get("since") or params.get("until"):
        until = read_time(params["until"], "until", now=now, local=local) if params.get("until") else now
        since = (
            read_time(params["since"], "since", now=now, local=local)
            if params.get("since")
            else until - timedelta(seconds=RANGES[default])
        )
        if since >= until:
            raise swapped(since, until)
        if until - since > PERIOD_MAX:
            days = (until - since).days
            raise InvalidRequest(
                f"{days} days are more than the {PERIOD_MAX.days} shown at once", param="since"
            )
        return Period(since=since, until=until, key=None)
    key = params.get("range") or default
    if key not in RANGES:
        raise InvalidRequest(
            f"range={key[:60]!r} is not offered; there are: {', '.join(RANGES)}", param="range"
        )
    return Period(since=now - timedelta(seconds=RANGES[key]), until=now, key=key)


def swapped(since: datetime, until: datetime) -> InvalidRequest:
    """The error for a time that ends before it begins: it must not look like one without calls."""
    return InvalidRequest(f"since={iso(since)} is not before until={iso(until)}; swap them", param="since")


def read_filter(params: Mapping[str, str], *, now: datetime, local: tzinfo) -> RecordFilter:
    """The filter a query string means. An empty value is no filter, as a form sends it."""
    values: dict[str, Any] = {
        name: filled(name, params[name]) for name in (*FILTER_NAMES, "before", "after") if params.get(name)
    }
    for name, value in values.items():
        check_length(name, value)
    status = values.get("status")
    if status is not None and status not in STATUSES:
        message = f"status={status[:60]!r} is none of {', '.join(STATUSES)}"
        raise InvalidRequest(message, param="status")
    arm = values.get("arm")
    if arm is not None and arm not in ARMS:
        raise InvalidRequest(f"arm={arm[:60]!r} is none of {', '.join(ARMS)}", param="arm")
    check_sort(values)
    values |= slower(values)
    for name, read in (("score", read_condition), ("tag", read_tag)):
        try:
            if name in values:
                read(values[name])
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}", param=name) from None
    if "before" in values and "after" in values:
        raise InvalidRequest("before and after exclude each other; give one cursor", param="after")
    if values.pop("team", None):  # `named.whole` has asked which keys are in it
        values["keys"] = params[KEYS].split(",")
    times = {
        name: read_time(params[name], name, now=now, local=local)
        for name in ("since", "until")
        if params.get(name)
    }
    if len(times) == 2 and times["since"] >= times["until"]:
        raise swapped(times["since"], times["until"])
    return msgspec.convert({**{k: v for k, v in values.items() if v}, **times}, RecordFilter)


def slower(values: Mapping[str, str]) -> dict[str, float]:
    """How many milliseconds calls must have taken, if that is asked. Raises InvalidRequest."""
    text = values.get("slower_ms") or "0"
    try:
        least = float(text)
    except ValueError:
        least = math.nan
    if not 0 <= least < math.inf:
        message = f"slower_ms={text[:60]!r} is no number of milliseconds; write 5000 for five seconds"
        raise InvalidRequest(message, param="slower_ms")
    return {"slower_ms": least} if values.get("slower_ms") else {}


def check_length(name: str, value: str) -> None:
    """Raise InvalidRequest for a value that can be none; what callers write is as long as calls take it."""
    most = TAG_CHARS_MAX + 1 + LABEL_CHARS_MAX if name in AS_SENT else VALUE_MAX
    if len(value) > most:
        message = f"{name} has {len(value):,} characters, and no call has one of over {most:,}; shorten it"
        raise InvalidRequest(message, param=name)


def filled(name: str, value: str) -> str:
    """What a parameter says, without blanks around it that are none of it; empty where it says nothing."""
    return value if name in AS_SENT else value.strip()


def check_sort(values: Mapping[str, str]) -> None:
    """Raise InvalidRequest for an order that there is not, or that is not paged."""
    sort = values.get("sort")
    if sort is not None and sort not in SORTS:
        raise InvalidRequest(f"sort={sort[:60]!r} is none of {', '.join(SORTS)}", param="sort")
    if sort is not None and ("before" in values or "after" in values):
        raise InvalidRequest(
            "records in another order are not paged; leave out sort or the cursor", param="sort"
        )


def grouped(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters, with what a form's second choice adds to `group_by` written into that."""
    parts = f"{params.get('group_by', '')},{params.get('and_by', '')}".split(",")
    by = ",".join(dict.fromkeys(each.strip() for each in parts if each.strip()))
    gone = ("and_by",) if by else ("and_by", "group_by")
    keep = {name: value for name, value in params.items() if name not in gone}
    return {**keep, "group_by": by} if by else keep


class Limit(msgspec.Struct, frozen=True):
    """The parameter `limit` of a list: 1 to `ceiling`, `default` unless given."""

    default: int
    ceiling: int

    def read(self, params: Mapping[str, str]) -> int:
        """What a call asks for. Raises InvalidRequest."""
        text = params.get("limit")
        if not text:
            return self.default
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
        if not 1 <= limit <= self.ceiling:
            raise InvalidRequest(
                f"limit={text[:60]!r} is not a whole number from 1 to {self.ceiling}", param="limit"
            )
        return limit

    def told(self, of: str = "") -> str:
        """It in words, for who reads which parameters there are; `of` says what is counted."""
        return f"at most so many{of}, 1 to {self.ceiling:,}; {self.default:,} unless given"


def no_record(record_id: str) -> NotFound:
    """What is told who asks for a record that is not there: it may be the id in an answer's body."""
    shown = record_id[:80]
    said = "a call appears within seconds of its end, and `airboss records` lists the newest with their ids"
    if ANSWERS_ID.fullmatch(shown):
        said = (
            "a record's id is the header x-request-id of its answer; by the id in the answer's body "
            f"`airboss records --search {shown}` finds it"
        )
    return NotFound(f"no record {shown!r}; {said}", param="id")
