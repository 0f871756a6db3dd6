"""A dataset from what was asked for real: records, without doubles, with what people approved, or wrote in
place of the answer, as expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from airboss.dialects.recorded import in_chat
from airboss.domain.errors import NotFound, WrongCall
from airboss.domain.ports import RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score, as_number
from airboss.evaluations.datasets import ITEMS_MAX, Input, Item, flat_text, input_digest
from airboss.store.opinions import CORRECTION, corrections

PAGE: Final = 500
CARRIED: Final = ("response_format", "tools", "tool_choice")
"""Fields of a request that are part of the question. Sampling parameters are not: those are the release's."""

NAMED: Final = 5
"""Records that one message names."""

WANTED: Final = "it takes a chat call that was answered, with its messages kept"

OWN_KEY: Final = "airboss"
"""The name of the key that our own calls have: an evaluation's questions are nobody's."""

Grouping = Literal["user", "session", "none"]
"""What keeps records together: a person, a conversation, or nothing."""


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an answer the expected one: the score `score` is at least `at_least`.

    `only` leaves out records that are not approved; else they become items that expect nothing.
    """

    score: str
    at_least: float = 1.0
    only: bool = False


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """The items found, how many records were left out, by cause, and the sessions of the items' records, by
    id, where they have one. `corrected`: the ids of items that expect what people wrote in place of the
    answer."""

    items: tuple[Item, ...]
    left_out: dict[str, int]
    sessions: dict[str, str] = {}
    corrected: frozenset[str] = frozenset()


def gather(
    log: RecordLog,
    where: RecordFilter,
    *,
    limit: int,
    approved: Approved | None = None,
    group_by: Grouping = "user",
    without_key: str | None = None,
) -> Gathered:
    """Items from the newest matching records, at most `limit` of them, looking at 20 times as many at most.

    `where.before` is where to begin. `without_key`: calls by the key of that name become no items. Raises
    StoreUnavailable.
    """
    limit = min(limit, ITEMS_MAX)
    texts: dict[str, Score] = {}
    found = (each for each in _pages(log, where, texts, at_most=20 * limit) if each.key != without_key)
    return from_records(found, limit=limit, approved=approved, group_by=group_by, texts=texts)


def from_records(
    records: Iterable[InferenceRecord],
    *,
    limit: int = ITEMS_MAX,
    approved: Approved | None = None,
    group_by: Grouping = "user",
    texts: Mapping[str, Score] = {},
) -> Gathered:
    """Items from records, newest first as they come; of records that ask the same, the first that something
    is expected of, else the first. `texts` has what people wrote in place of answers, by the record's id,
    once the record has come: it is expected, whatever was approved.

    Only chat calls that were answered, with their bodies kept, become items: an item's id is its record's.
    `group_by` "user" falls back to the session, and to nothing where there is neither.
    """
    found: dict[str, Item] = {}
    sessions: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for record in records:
        if len(found) >= limit:
            break
        cause, item = _item(record, approved, group_by, texts.get(record.id))
        if item is None:
            left_out[cause] += 1
            continue
        key = input_digest(item.input)
        before = found.get(key)
        if before is not None:
            left_out["the same was asked before"] += 1
            if before.expected is not None or item.expected is None:
                continue
        found[key] = item
        if record.session is not None:
            sessions[record.id] = record.session
    items = tuple(found.values())
    return Gathered(
        items=items,
        left_out=dict(left_out),
        sessions=sessions,
        corrected=frozenset(each.id for each in items if each.id in texts),
    )


def picked(
    log: RecordLog,
    ids: Sequence[str],
    *,
    approved: Approved | None = None,
    answered: bool = False,
    corrected: bool = True,
    group_by: Grouping = "user",
    without: Callable[[InferenceRecord], bool] = lambda _: False,
) -> Gathered:
    """An item of each of these records, in this order. With `answered` each expects what was answered, else,
    if `corrected`, what people wrote in its place. `without` says of which one nothing may be known any more.

    Raises NotFound for ids that no record has, WrongCall for records that cannot become items, naming the
    first few; StoreUnavailable.
    """
    items: dict[str, Item] = {}
    sessions: dict[str, str] = {}
    refused: dict[str, str] = {}
    texts: dict[str, Score] = {}
    taken = corrected and not answered
    for record in _pages(log, RecordFilter(ids=tuple(ids)), texts, at_most=len(ids)):
        if without(record):
            continue
        cause, item = _item(record, approved, group_by, texts.get(record.id) if taken else None)
        if item is not None and answered:
            item = msgspec.structs.replace(item, expected=said_by(in_chat(record).response))
            cause = "its answer has no text and calls no tool" if item.expected is None else ""
        if item is None or cause:
            refused[record.id] = cause
            continue
        items[record.id] = item
        if record.session is not None:
            sessions[record.id] = record.session
    unknown = [each for each in ids if each not in items and each not in refused]
    if unknown:
        raise NotFound(
            f"no record {_some(unknown)}; a call appears within seconds of its end, and `airboss records` "
            "lists the newest with their ids",
            param="record",
        )
    if refused:
        said = [f"{each} ({refused[each]})" for each in ids if each in refused]
        raise WrongCall(f"no item can be made of record {_some(said)}: {WANTED}")
    return Gathered(
        items=tuple(items[each] for each in ids),
        left_out={},
        sessions=sessions,
        corrected=frozenset(texts if taken else ()),
    )


def unfit(record: InferenceRecord) -> str | None:
    """Why no item can be made of a record; None where one can."""
    return _item(record, None, "none", None)[0] or None


def _some(named: Sequence[str]) -> str:
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(each[:200] for each in named[:NAMED]) + more


def _pages(
    log: RecordLog, where: RecordFilter, texts: dict[str, Score], *, at_most: int
) -> Iterator[InferenceRecord]:
    """The records, with their bodies. Before one comes, `texts` gets what people wrote in place of its
    answer, by its id; not what one user wrote of another's call, as an item is found by one person when they
    are forgotten."""
    seen = 0
    while seen < at_most:
        page = log.records(where, limit=min(PAGE, at_most - seen), bodies=True)
        callers = {each.id: each.user for each in page if CORRECTION in each.scores}
        found = log.scores_of(list(callers)) if callers else ()
        texts.update(
            corrections(
                each for each in found if each.user is None or callers[each.subject_id] in (None, each.user)
            )
        )
        yield from page
        if not page:
            return
        seen += len(page)
        where = msgspec.structs.replace(where, before=page[-1].id)


def _item(
    record: InferenceRecord, approved: Approved | None, group_by: Grouping, right: Score | None
) -> tuple[str, Item | None]:
    if record.operation != "chat":
        return f"a call of {record.operation}, not chat", None
    record = in_chat(record)
    if record.status != "ok":
        return f"ended as {record.status}", None
    asked = _input(record.request)
    if asked is None:
        return "no messages were kept", None
    expected: Any = right.comment if right is not None else None
    if approved is not None and expected is None:
        given = as_number(record.scores.get(approved.score))
        if given is not None and given >= approved.at_least:
            expected = said_by(record.response)
        if expected is None and approved.only:
            return f"not approved by {approved.score}", None
    group = None
    if group_by != "none":
        group = record.session if group_by == "session" else record.user or record.session
    return "", Item(
        id=record.id,
        input=asked,
        expected=expected,
        tags=tuple(sorted(f"{key}={value}" for key, value in record.tags.items())),
        group=group,
        record=record.id,
        user=record.user or (right.user if right is not None else None),
    )


def _input(request: Any) -> Input | None:
    messages = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return None
    if request.get("previous_response_id") is not None:
        return None  # what came before stands in other records
    variables = request.get("prompt_variables")
    return Input(
        messages=tuple(messages),
        variables=variables if isinstance(variables, dict) else {},
        params={name: request[name] for name in CARRIED if request.get(name) is not None},
    )


def said_by(response: Any) -> Any:
    """What a recorded answer says, as an item expects it: its text, else the tools that it calls; None where
    it says nothing."""
    called = _message(response).get("tool_calls")
    return answer_text(response) or ({"tool_calls": called} if called else None)


def answer_text(response: Any) -> str:
    """The text of a recorded response's first choice; empty where there is none."""
    return flat_text(_message(response).get("content"))


def _message(response: Any) -> dict[str, Any]:
    choices = response.get("choices") if isinstance(response, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return message if isinstance(message, dict) else {}
