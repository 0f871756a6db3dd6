"""What a review is: which answers, under which name, on which scale. All of it stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal, get_args

import msgspec

from airboss.console.query import FILTER_NAMES, iso, read_filter, read_time
from airboss.domain.errors import InvalidRequest
from airboss.domain.score import SCORE_NAME, ScoreValue
from airboss.evaluations.sampling import MODES, SIZE_MAX, Draw, Mode
from airboss.store.opinions import CORRECTION, check_name, check_value

Scale = Literal["yes-no", "1-5", "labels"]
SCALES: Final[tuple[Scale, ...]] = get_args(Scale)
FILTERS: Final = tuple(name for name in FILTER_NAMES if name not in ("sort", "id", "team"))
PLAN: Final = (
    *FILTERS,
    "since",
    "until",
    "name",
    "ask",
    "scale",
    "labels",
    "n",
    "seed",
    "mode",
    "judge",
    "begun",
)
"""What stays the same from answer to answer."""

NAMES: Final = (*PLAN, "range", "at", "last")
ASK: Final = "Is the answer right?"
ASK_MAX: Final = 200
SIZE: Final = 40
LABELS_MAX: Final = 9
"""As many as there are number keys."""


class Button(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to the question: the key that gives it, its words, and the value as a form sends it."""

    key: str
    words: str
    value: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A review that has begun. `of_all`: nothing but deployment, time and having been answered or scored
    narrows it down, so that what chance gives is a sample of all that a judge scored."""

    draw: Draw
    ask: str
    scale: Scale
    buttons: tuple[Button, ...]
    of_all: bool

    @property
    def sampled(self) -> bool:
        """Whether a judgement is one of a random sample."""
        return self.of_all and self.draw.mode == "random"


def read_review(params: Mapping[str, str], *, by: str, now: datetime, local: tzinfo) -> Review:
    """The review that an address means. Raises InvalidRequest."""
    name = params.get("name", "")
    check_name(name)
    if name == CORRECTION:
        raise InvalidRequest(
            f"{CORRECTION!r} is where what would have been right is kept; use another name", param="name"
        )
    scale = one_of(params, "scale", SCALES, "yes-no")
    mode: Mode = one_of(params, "mode", MODES, "random")
    judge = params.get("judge") or None
    if judge is not None and SCORE_NAME.fullmatch(judge) is None:
        raise InvalidRequest(f"judge={judge[:80]!r} is no name of a scorer", param="judge")
    if mode != "random" and judge is None:
        raise InvalidRequest("say whose scores are meant: the name of a judge", param="judge")
    ask = params.get("ask") or ASK
    if len(ask) > ASK_MAX:
        raise InvalidRequest(f"ask has {len(ask)} characters, of at most {ASK_MAX}", param="ask")
    given = {each: params[each] for each in FILTERS if params.get(each)}
    if judge is not None and "score" not in given:
        given["score"] = f"scorer:{judge}"
    times = {each: params[each] for each in ("since", "until") if params.get(each)}
    where = read_filter({**given, **times}, now=now, local=local)
    return Review(
        draw=Draw(
            where=where,
            by=by,
            name=name,
            size=whole(params, "n", SIZE, least=1, most=SIZE_MAX),
            begun=read_time(params["begun"], "begun", now=now, local=UTC) if params.get("begun") else now,
            seed=whole(params, "seed", 0, least=0, most=999_999_999),
            mode=mode,
            judge=judge,
        ),
        ask=ask,
        scale=scale,
        buttons=buttons(scale, params.get("labels", "")),
        of_all=of_all(given, judge),
    )


def of_all(given: Mapping[str, str], judge: str | None) -> bool:
    """Whether a filter leaves a sample of all that a judge scored of a deployment."""
    return (
        set(given) <= {"deployment", "status", "score"}
        and given.get("status", "ok") == "ok"
        and given.get("score") in (None, f"scorer:{judge}")
    )


def buttons(scale: Scale, labels: str) -> tuple[Button, ...]:
    """What can be answered. Raises InvalidRequest for labels that are none, too many or twice there."""
    if scale == "yes-no":
        return Button(key="1", words="Yes", value="yes"), Button(key="2", words="No", value="no")
    if scale == "1-5":
        return tuple(Button(key=str(each), words=str(each), value=str(each)) for each in range(1, 6))
    words = [each.strip() for each in labels.split(",") if each.strip()]
    if not 2 <= len(words) <= LABELS_MAX or len(set(words)) < len(words):
        raise InvalidRequest(f"give 2 to {LABELS_MAX} different labels, with commas between", param="labels")
    for each in words:
        check_value(each)
    return tuple(Button(key=str(n), words=each, value=each) for n, each in enumerate(words, 1))


def value_of(review: Review, text: str) -> ScoreValue:
    """The value that a button means. Raises InvalidRequest for one that there is not."""
    if text not in {each.value for each in review.buttons}:
        raise InvalidRequest(f"{text[:80]!r} is no answer to {review.ask!r}", param="value")
    if review.scale == "yes-no":
        return text == "yes"
    return float(text) if review.scale == "1-5" else text


def begun(params: Mapping[str, str], *, since: datetime, until: datetime, now: datetime) -> dict[str, str]:
    """The address of a review that begins now: its time stands still, so that its sample does."""
    kept = {name: params[name] for name in PLAN if params.get(name)}
    return {**kept, "since": iso(since), "until": iso(until), "begun": iso(now)}


def next_of(ids: tuple[str, ...], said: Mapping[str, Any], at: int) -> int | None:
    """The place of the first answer from there on that was not judged; None: there is none."""
    return next((place for place in range(at, len(ids)) if ids[place] not in said), None)


def one_of(params: Mapping[str, str], name: str, offered: tuple[Any, ...], default: str) -> Any:
    """A parameter that is one of a few. Raises InvalidRequest."""
    found = params.get(name) or default
    if found not in offered:
        raise InvalidRequest(f"{name}={found[:40]!r} is none of {', '.join(offered)}", param=name)
    return found


def whole(params: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    """A whole number. Raises InvalidRequest."""
    text = params.get(name) or str(default)
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= value <= most:
        raise InvalidRequest(f"{name}={text[:40]!r} is no whole number from {least} to {most:,}", param=name)
    return value
