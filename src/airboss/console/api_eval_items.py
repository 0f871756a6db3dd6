"""An evaluation item by item in the admin API: every answer with its marks, as JSON or as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from airboss.console.api_eval import show_eval
from airboss.console.desk import Desk
from airboss.console.eval_story import other_share, plainly, votes_told
from airboss.console.export import CSV, PARQUET, Download, Table, as_csv
from airboss.console.query import Limit
from airboss.console.reading import note_copy
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.domain.score import ScoreValue
from airboss.evaluations.datasets import Item, question
from airboss.evaluations.marks import Mark, unquoted
from airboss.evaluations.plan import EvalPlan, ItemResult
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import said_in
from airboss.store.eval_rows import ResultRow

LIMIT: Final = Limit(1_000, 20_000)
OPEN: Final = ("train", "validation")
"""The parts whose items may be looked at without a word."""


class EvalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One side's answer to an item, the `repeat`-th time, with its marks by scorer: `scores`, or why it is
    `unscored`, and `comments`. A judge of pairs marks each side with its share of the win. `answer` has the
    tools that are called as JSON behind the text. Of a holdout there are no words and no `record`."""

    item: str
    repeat: int
    side: Literal["a", "b"]
    release: str
    tags: tuple[str, ...] = ()
    question: str | None = None
    expected: str | None = None
    answer: str | None = None
    error: str | None = None
    latency_ms: float | None
    cost_usd: Decimal | None
    input_tokens: int | None
    output_tokens: int | None
    record: str | None = None
    scores: dict[str, ScoreValue] = {}
    unscored: dict[str, str] = {}
    comments: dict[str, str] = {}


class EvalAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to some items, in order of item, repeat and side. `next` goes on after them, as `after`;
    None where there are no more."""

    answers: tuple[EvalAnswer, ...]
    next: str | None


PLAIN: Final[dict[str, type]] = {
    "item": str,
    "repeat": int,
    "side": str,
    "release": str,
    "tags": str,
    "question": str,
    "expected": str,
    "answer": str,
    "error": str,
    "latency_ms": float,
    "cost_usd": float,
    "input_tokens": int,
    "output_tokens": int,
    "record": str,
}
"""The columns of a table that are there whatever the scorers."""


def eval_items(desk: Desk, call: Call) -> EvalAnswers | Download:
    """GET /api/v1/evals/{id}/items."""
    found = show_eval(desk, call)
    if found.summary.state in ("queued", "running"):
        raise WrongCall(
            f"{found.summary.id} is {found.summary.state}: what is looked at before all is there says too "
            "much; `airboss eval show ID --wait` waits for it"
        )
    form, after = call.params.get("format") or "json", call.params.get("after", "")
    if form not in ("json", "csv", "parquet"):
        raise InvalidRequest(f"format={form[:60]!r} is none of json, csv, parquet", param="format")
    rows = desk.evals.results(found.summary.id)
    names = sorted({row.item for row in rows if row.item > after})
    limit = LIMIT.read(call.params) if form == "json" or "limit" in call.params else LIMIT.ceiling
    if form != "json" and len(names) > limit:
        raise WrongCall(f"{len(names)} items, and a file takes {limit}; read them as JSON, page by page")
    wanted = set(names[:limit])
    if wanted and found.plan.part in OPEN:
        note_copy(desk, call, f"evaluation {found.summary.id}", found.plan.part)
    answers = answers_of(desk, found.plan, [row for row in rows if row.item in wanted])
    if form == "json":
        return EvalAnswers(answers=answers, next=names[limit - 1] if len(names) > limit else None)
    made, name = table(answers), f"{found.summary.id}.{form}"
    if form == "csv":
        return Download(content=as_csv(made), media_type=CSV, name=name)
    return Download(content=desk.parquet(made.columns, made.rows), media_type=PARQUET, name=name)


def answers_of(desk: Desk, plan: EvalPlan, rows: Sequence[ResultRow]) -> tuple[EvalAnswer, ...]:
    """Both sides' answers, with what a judge of pairs says of them."""
    items = questions(desk, plan)
    results = {
        (row.item, row.repeat, row.arm): msgspec.json.decode(row.content, type=ItemResult) for row in rows
    }
    found = []
    for item, repeat, side in sorted(results):
        if side == "pair":
            continue
        result, pair = results[item, repeat, side], results.get((item, repeat, "pair"))
        marks = dict(result.marks)
        for name, mark in pair.marks.items() if pair is not None else ():
            marks[name] = other_share(mark) if side == "a" else votes_told(mark)
        target = plan.a if side == "a" else plan.b
        assert target is not None  # without A nothing is asked of it
        about = (item, repeat, side, target.release)
        found.append(_answer(desk, about, (result, marks), items.get(item), shown=plan.part in OPEN))
    return tuple(found)


def _answer(
    desk: Desk,
    about: tuple[str, int, Literal["a", "b"], str],
    came: tuple[ItemResult, Mapping[str, Mark]],
    item: Item | None,
    *,
    shown: bool,
) -> EvalAnswer:
    (name, repeat, side, release), (result, marks) = about, came
    kept = desk.evals.answer(result.key) if shown and result.key is not None else None
    words = (lambda cause: cause) if shown else unquoted
    return EvalAnswer(
        item=name,
        repeat=repeat,
        side=side,
        release=release,
        tags=item.tags if item is not None else (),
        question=question(item) if item is not None else None,
        expected=plainly(item.expected) if item is not None and item.expected is not None else None,
        answer=said_in(msgspec.json.decode(kept, type=Answer)) if kept is not None else None,
        error=words(result.error) if result.error is not None else None,
        latency_ms=result.latency_ms,
        cost_usd=result.cost_usd,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        record=result.record if shown else None,
        scores={scorer: mark.value for scorer, mark in marks.items() if mark.value is not None},
        unscored={
            scorer: words(mark.unscored) for scorer, mark in marks.items() if mark.unscored is not None
        },
        comments={
            scorer: mark.comment for scorer, mark in marks.items() if shown and mark.comment is not None
        },
    )


def questions(desk: Desk, plan: EvalPlan) -> dict[str, Item]:
    """The items that were asked, by id; none of a holdout, which stays locked, or of what is gone."""
    if plan.part not in OPEN:
        return {}
    rows = desk.evals.items(plan.dataset, "train" if plan.part == "train" else "validation")
    return {row.id: msgspec.json.decode(row.content, type=Item) for row in rows}


def table(answers: Sequence[EvalAnswer]) -> Table:
    """One row an answer. What is by scorer has a column each, as JSON is flattened: `scores.exact`."""
    columns, rows = dict(PLAIN), []
    for name in sorted({each for one in answers for each in (*one.scores, *one.unscored)}):
        kinds = {type(one.scores[name]) for one in answers if name in one.scores}
        columns[f"scores.{name}"] = kinds.pop() if len(kinds) == 1 else str if str in kinds else float
        columns |= {f"unscored.{name}": str, f"comments.{name}": str}
    for one in answers:
        row: dict[str, Any] = {name: getattr(one, name) for name in PLAIN} | {"tags": ",".join(one.tags)}
        row["cost_usd"] = None if one.cost_usd is None else float(one.cost_usd)
        for name, kind in columns.items():
            if name not in row:
                field, _, scorer = name.partition(".")
                value = getattr(one, field).get(scorer)
                row[name] = None if value is None else kind(value)
        rows.append(row)
    return Table(columns=columns, rows=rows)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/evals/{id}/items",
        summary="An evaluation's answers, item by item, with their scores",
        answer=EvalAnswers,
        handle=eval_items,
        role="reader",
        params={
            "format": "csv or parquet: a file instead of JSON",
            "after": "only items after this one, as `next` says",
            "limit": LIMIT.told(" items"),
        },
    ),
)
"""The routes of this module."""
