"""What somebody's own app answered to the items of a dataset, from JSON Lines: one line an item.

    {"item": "q7", "answer": "Paris", "latency_ms": 812, "cost_usd": 0.002, "usage": {"output_tokens": 3}}
    {"item": "q8", "messages": [{"role": "assistant", "tool_calls": […]}, …, {"role": "assistant", …}]}
    {"item": "q9", "error": "the search timed out"}

`item` is the item's id. `messages`, what the app said, stand for `answer`, the text of its last message as
assistant, and for `tool_calls`, those of all of them. What a line does not say was not measured. Such an
answer is kept as a release's is, under a key of its own, so that all that reads those reads these.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import ITEMS_MAX, Item, Json, Part, flat_text, input_digest
from airboss.evaluations.jsonl import numbered
from airboss.evaluations.paid_once import answer_key
from airboss.evaluations.ports import Answer, Call, Target
from airboss.evaluations.scorers.tool_calls import calls_in
from airboss.releases.digest import digest
from airboss.store.eval_rows import AnswerRow, ItemRow
from airboss.store.wording import many

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of an app."""

MOST: Final[Mapping[str, int]] = {
    "latency_ms": 1_000_000_000,
    "cost_usd": 1_000_000,
    "input_tokens": 1_000_000_000,
    "output_tokens": 1_000_000_000,
}
"""What a line may say at most was measured."""

USD_DIGITS: Final = 10
LOOKED_AT: Final = 10_000
"""Ids among which one that was perhaps meant is looked for."""
NAMED_MAX: Final = 3
"""Items that a complaint names; of more it tells how many there are."""


class AppAnswers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an app answered: `jsonl` is the text of a file in JSON Lines that messages call `source`. `name`
    is what the app is called."""

    name: str
    jsonl: str
    source: str = "the request's answers"


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens by OpenAI's names, old or new; other members are passed over."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    item: str | int
    answer: str | None = None
    messages: tuple[Json, ...] | None = None
    tool_calls: list[Json] | None = None
    error: str | None = None
    usage: _Usage | None = None
    latency_ms: float | None = None
    cost_usd: Decimal | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that were read: `app` is whose, `answers` are by item, as JSON, `lines` where each stands."""

    app: Target
    source: str
    answers: dict[str, str]
    lines: dict[str, int]

    def of(self, rows: Sequence[ItemRow], part: Part, dataset: str) -> tuple[AnswerRow, ...]:
        """Those to the items of a part, to be kept; `rows` are the items of all parts. Answers to other parts
        are passed over. Raises WrongCall for one to no item, and for an item without one."""
        ids = {row.id for row in rows}
        unknown = next((each for each in self.answers if each not in ids), None)
        if unknown is not None:
            near = _near(unknown, [row.id for row in rows if row.part != "holdout"])
            raise WrongCall(
                f"{self.source}, line {self.lines[unknown]}: dataset {dataset!r} has no item "
                f"{unknown[:80]!r}{near or '; `dataset export` shows those there are'}"
            )
        wanted = [row for row in rows if row.part == part]
        missing = [row.id for row in wanted if row.id not in self.answers]
        if missing:
            # Nobody is told which items the holdout has.
            some = "" if part == "holdout" else f" ({', '.join(map(repr, missing[:NAMED_MAX]))}"
            more = "" if part == "holdout" else ", …)" if len(missing) > NAMED_MAX else ")"
            raise WrongCall(
                f"{self.source}: {len(missing)} of the {many(len(wanted), 'item')} in the {part} part of "
                f"{dataset!r} {'has' if len(missing) == 1 else 'have'} no line{some}{more}; write one for "
                'each, {"item": …, "error": "why"} where your app has no answer'
            )
        return tuple(self._row(row) for row in wanted)

    def _row(self, row: ItemRow) -> AnswerRow:
        item = msgspec.json.decode(row.content, type=Item)
        return AnswerRow(
            key=answer_key(app_call(self.app, item)),
            subject=row.subject,
            user=row.user,
            content=self.answers[row.id],
        )


def app_call(app: Target, item: Item) -> Call:
    """Under whose key an app's answer to an item is kept: of two items that ask the same each has its own."""
    return Call(target=app, input=item.input, subject=input_digest(item.input), user=item.user, apart=item.id)


def read_answers(given: AppAnswers) -> Given:
    """An app's answers. Raises WrongCall, naming the line, for one that is too long, no JSON or no answer,
    for an item that was there before, and for more than ITEMS_MAX."""
    if NAME.fullmatch(given.name) is None:
        raise WrongCall(
            f"the app is called {given.name[:120]!r}; a name has 1 to 100 letters, digits, dots, dashes and "
            "underscores, and begins with a letter or digit"
        )
    answers: dict[str, str] = {}
    lines: dict[str, int] = {}
    raw = given.jsonl.encode("utf-8", "surrogatepass")
    for number, line in numbered(BytesIO(raw), given.source):
        try:
            item, answer = _read(line)
            content = msgspec.json.encode(answer).decode()
        except (ValueError, WrongCall, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise WrongCall(f"{given.source}, line {number}: {error}{_meant(str(error))}") from None
        if item in answers:
            raise WrongCall(
                f"{given.source}, line {number}: the item {item[:80]!r} has an answer already, in line "
                f"{lines[item]}; an app answers each item once"
            )
        answers[item], lines[item] = content, number
        if len(answers) > ITEMS_MAX:
            raise WrongCall(f"{given.source}, line {number}: more than {ITEMS_MAX} answers; divide them")
    if not answers:
        raise WrongCall(f"{given.source} has no line; write one for each item")
    said = digest(["app", given.name, sorted(answers.items())])
    app = Target(deployment="", release=said, name=given.name)
    return Given(app=app, source=given.source, answers=answers, lines=lines)


def _read(line: bytes) -> tuple[str, Answer]:
    """A line's item, and what was answered. Raises ValueError or WrongCall saying what is wrong."""
    given = msgspec.json.decode(line, type=_Line)
    item, usage = str(given.item), given.usage or _Usage()
    text, called = _said(given)
    if (text is None and not called) == (given.error is None):
        has = (
            "neither `answer`, `messages` nor `error`" if given.error is None else "an answer and an `error`"
        )
        raise WrongCall(f"the item {item[:80]!r} has {has}; give one of them")
    if given.error is not None:
        answer = Answer(error=f"the app says: {given.error.strip() or 'nothing'}", latency_ms=None)
    else:
        answer = Answer(text=text or "", tool_calls=called or None, latency_ms=None)
    measured = {
        "latency_ms": given.latency_ms,
        "cost_usd": given.cost_usd,
        "input_tokens": _either(usage.input_tokens, usage.prompt_tokens),
        "output_tokens": _either(usage.output_tokens, usage.completion_tokens),
    }
    for name, value in measured.items():
        finite = value is None or isinstance(value, int) or math.isfinite(value)
        if value is not None and not (finite and 0 <= value <= MOST[name]):
            raise WrongCall(
                f"{name} is {value}; give 0 to {MOST[name]:,}, or leave it out if nobody measured"
            )
    if given.cost_usd is not None:
        measured["cost_usd"] = round(given.cost_usd, USD_DIGITS)
    return item, msgspec.structs.replace(answer, **measured)


def _said(given: _Line) -> tuple[str | None, list[Any]]:
    """The text of an answer, None where there is none, and the tools that it calls."""
    turns = [each for each in given.messages or () if each.get("role") == "assistant"]
    if given.messages is not None and not turns:
        raise WrongCall("none of `messages` has the role assistant, whose last one is the answer")
    text = given.answer
    if text is None and turns and isinstance(turns[-1].get("content"), str | list):
        text = flat_text(turns[-1]["content"])
    called: list[Any] = list(given.tool_calls or ())
    if given.tool_calls is None:
        for turn in turns:
            more = turn.get("tool_calls") or []
            called += more if isinstance(more, list) else [more]
    if calls_in(called) is None:
        raise WrongCall(
            '`tool_calls` are not all calls; a call is {"name": "…", "arguments": {…}}, or as OpenAI\'s '
            "messages have it"
        )
    return text, called


def _either(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def _near(name: str, there: Collection[str]) -> str:
    found = difflib.get_close_matches(name[:80], list(there)[:LOOKED_AT], n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _meant(message: str) -> str:
    """The nearest field, where a message complains of an unknown one."""
    _, found, rest = message.partition("unknown field `")
    return _near(rest.partition("`")[0], _Line.__struct_fields__).replace("'", "`") if found else ""
