"""Model calls that spans tell of and that the gateway has recorded, where neither trace nor answer says so:
embeddings, calls that failed, and chats of clients that do not write down what answers are called. A client
writes down what it asked and when; the gateway's record has the same question, of the same key, within that
time. Pure.

Several calls may be alike in all of that. So a call that failed must say the gateway's own words, and a chat
must have as many tokens; and of those that are alike at the same time each is joined to its client only where
no other way is possible. Otherwise as many clients as there are calls are known to be the gateway's, and
counted by its records alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from airboss.domain.record import InferenceRecord
from airboss.store.joining import StoredRecord, read_record
from airboss.store.span_answers import answer_ids, span_of
from airboss.store.span_rows import Span, SpanDetail

CALLS_MAX: Final = 2_000
"""Calls of the gateway that are looked at for the spans that are settled at once."""
SKEW: Final = timedelta(milliseconds=100)
"""By how much the clock of who sends spans may be off: a call of the gateway is while its client waits."""
PAIRS_MAX: Final = 40_000
"""Of clients and calls that are alike; among more, which is whose is not looked into."""
NONE: Final = timedelta(milliseconds=1)
"""Off by no more than what times are rounded to."""
FAILED: Final = frozenset({"error", "refused"})
WORDS_MIN: Final = 12
"""Letters and digits that an error must have to be known by them."""

_CONTENT: Final = ("input", "messages", "prompt", "instructions", "dimensions", "previous_response_id")
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_ODD: Final = re.compile(r"[\W_]+")


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client's span of a model call: what it asked, and the words of its error."""

    span: SpanDetail
    record: StoredRecord
    question: str
    words: str

    @property
    def ended_at(self) -> datetime:
        """When it ended."""
        return self.span.started_at + timedelta(milliseconds=self.span.duration_ms)


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    record: InferenceRecord
    words: str
    ended_at: datetime


def clients_of(spans: Iterable[SpanDetail], texts: Mapping[str, bytes]) -> list[Client]:
    """Those of these calls that may be known by what they ask; `texts` are the records that they would
    become, as JSON and by the spans' ids."""
    found = []
    spans = list(spans)
    named = answer_ids(spans)
    for span in spans:
        try:
            record = read_record(texts[span.id])
        except (KeyError, ValueError):
            continue
        question = _question(_value(bytes(record.request)))
        nameless = record.operation == "embeddings" or _is_counted(record, span.id in named)
        if question is not None and (record.status == "error" or nameless):
            # A client shows an error as Python's or JavaScript's text of it, quotes and line ends escaped.
            words = _ODD.sub("", _ESCAPED.sub("", span.message or ""))
            found.append(Client(span=span, record=record, question=question, words=words))
    return found


def _is_counted(record: StoredRecord, named: bool) -> bool:  # noqa: FBT001 - said beside it
    """Whether a chat may be known by what it asked and how many tokens that were."""
    return record.operation == "chat" and record.input_tokens is not None and not named


def asked_in(clients: Sequence[Client]) -> dict[str, Any]:
    """Which calls of the gateway may be theirs: `since`, `until`, `keys`; of chats that were answered those
    of so many tokens, as there may be many: `tokens`."""
    counted = {
        each.record.input_tokens
        for each in clients
        if each.record.status == "ok" and each.record.operation == "chat"
    }
    return {
        "since": min(each.span.started_at for each in clients) - SKEW,
        "until": max(each.ended_at for each in clients) + SKEW,
        "keys": sorted({each.span.key for each in clients}),
        "tokens": sorted(each for each in counted if each is not None),
    }


def joined(clients: Sequence[Client], records: Iterable[InferenceRecord]) -> dict[str, Span | None]:
    """For each of these clients whose call is one of the gateway's (of `records`, those that came without a
    trace), by its span's id: the span that the latter is in its trace; None where it is one of several."""
    calls: defaultdict[str, list[_Call]] = defaultdict(list)
    for record in sorted(records, key=lambda each: (each.started_at, each.id)):
        ended_at = record.started_at + timedelta(milliseconds=record.latency_ms)
        call = _Call(record=record, words=_words(record.response), ended_at=ended_at)
        for question in _questions(record):
            calls[question].append(call)
    asked: defaultdict[tuple[str, bool], list[Client]] = defaultdict(list)
    for client in clients:
        asked[client.question, client.record.status == "error"].append(client)
    found: dict[str, Span | None] = {}
    for (question, _), alike in asked.items():
        for group in _at_once(sorted(alike, key=lambda each: (each.span.started_at, each.span.id))):
            taken = {each.id for each in found.values() if each is not None}
            found |= _matched(
                group, [each for each in calls.get(question, ()) if each.record.id not in taken]
            )
    return found


def _at_once(clients: Sequence[Client]) -> list[list[Client]]:
    """Clients in groups of those that were under way at the same time."""
    groups: list[list[Client]] = []
    until: datetime | None = None
    for client in clients:
        if until is None or client.span.started_at - SKEW > until:
            groups.append([])
        groups[-1].append(client)
        end = client.ended_at + SKEW
        until = end if until is None or len(groups[-1]) == 1 else max(until, end)
    return groups


def _matched(clients: Sequence[Client], calls: Sequence[_Call]) -> dict[str, Span | None]:
    """Those of these clients whose calls are among these: with the call where it can be no other."""
    theirs = [call for call in calls if any(_fits(client, call, SKEW) for client in clients)]
    if len(clients) == 1 and theirs and clients[0].record.status == "error":
        # One who is told to try again makes several calls under one span, which fail alike.
        return {clients[0].span.id: span_of(theirs[0].record, clients[0].span)}
    pairs = _most(clients, theirs, SKEW)
    found: dict[str, Span | None] = {each.span.id: None for each, _ in pairs}
    if not len(pairs) == len(clients) <= len(theirs) or len(clients) * len(theirs) > PAIRS_MAX:
        return found
    certain = _certain(clients, theirs, SKEW)
    if len(theirs) == len(clients) > len(certain) and len(_most(clients, theirs, NONE)) == len(clients):
        # Most clocks are right: then each call lies within its client.
        certain = _certain(clients, theirs, NONE)
    mine = {each.span.id for each, _ in certain}
    found |= {each.span.id: span_of(call.record, each.span) for each, call in certain}
    if len({each.span.trace_id for each in clients}) == 1 and len(clients) == len(theirs):
        # Which is whose nobody knows, but in this trace they are: beside their clients they are no others'.
        above = {each.span.parent_id for each in clients}
        parent = above.pop() if len(above) == 1 else None
        given = {call.record.id for _, call in certain}
        others = [each for each in clients if each.span.id not in mine]
        left = [call for call in theirs if call.record.id not in given]
        for each, call in zip(others, left, strict=True):
            found[each.span.id] = replace(span_of(call.record, each.span), parent_id=parent)
    return found


def _certain(
    clients: Sequence[Client], calls: Sequence[_Call], skew: timedelta
) -> list[tuple[Client, _Call]]:
    """Clients with their calls, where no others are possible, as their clocks are off by so much at most:
    each has one of these, and where there are no more of them each is of a client."""
    may = {
        at: {n for n, call in enumerate(calls) if _fits(client, call, skew)}
        for at, client in enumerate(clients)
    }
    whose = {n: {at for at, each in may.items() if n in each} for n in range(len(calls))}
    found: list[tuple[Client, _Call]] = []
    while True:
        one = next(((at, *each) for at, each in may.items() if len(each) == 1), None)
        if one is None and len(may) == len(whose):
            one = next(((*each, n) for n, each in whose.items() if len(each) == 1), None)
        if one is None:
            return found
        at, number = one
        found.append((clients[at], calls[number]))
        for other in whose.pop(number):
            may[other].discard(number)
        for other in may.pop(at):
            whose[other].discard(at)


def _most(clients: Sequence[Client], calls: Sequence[_Call], skew: timedelta) -> list[tuple[Client, _Call]]:
    """As many clients as there can be, each with a call: the latest first, with the call that ends last."""
    free = sorted(calls, key=lambda each: each.ended_at, reverse=True)
    found = []
    for client in sorted(clients, key=lambda each: each.span.started_at, reverse=True):
        call = next((each for each in free if _fits(client, each, skew)), None)
        if call is not None:
            free.remove(call)
            found.append((client, call))
    return found


def _fits(client: Client, call: _Call, skew: timedelta) -> bool:
    record, mine = call.record, client.record
    if record.key != client.span.key or record.operation != mine.operation:
        return False
    if record.started_at < client.span.started_at - skew or call.ended_at > client.ended_at + skew:
        return False
    if mine.status == "error":
        return record.status in FAILED and len(call.words) >= WORDS_MIN and call.words in client.words
    same = None in {record.input_tokens, mine.input_tokens} or record.input_tokens == mine.input_tokens
    return record.status == "ok" and same


def _questions(record: InferenceRecord) -> set[str]:
    """What a call of the gateway asked: of the model that was named, and of the one that answered, as some
    write down that."""
    request = record.request
    answered = (
        {**request, "model": record.model} if isinstance(request, dict) and "model" in request else None
    )
    return {each for each in (_question(request), _question(answered)) if each is not None}


def _question(request: Any) -> str | None:
    """What a request asks, and of which model, as it was written; None where that is not known."""
    if not isinstance(request, dict) or not isinstance(request.get("model"), str):
        return None
    said = {name: request[name] for name in _CONTENT if request.get(name) is not None}
    if not said.keys() & {"input", "messages", "prompt"}:
        return None
    if "instructions" in said and "input" in said:  # Langfuse's client writes them as the first message
        asked = said["input"]
        asked = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
        said["input"] = [{"role": "system", "content": said.pop("instructions")}, *asked]
    return msgspec.json.encode([request["model"], said], order="sorted").decode()


def _words(response: Any) -> str:
    """The letters and digits of an error's message."""
    error = response.get("error") if isinstance(response, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return _ODD.sub("", message.replace("\\", "")) if isinstance(message, str) else ""


def _value(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
