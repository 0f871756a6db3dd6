"""Model calls that spans tell of and that the gateway has recorded, where neither trace nor answer says so:
embeddings, and calls that failed. A client writes down what it asked and when; the gateway's record has the
same question, of the same key, within that time. Pure.

Two calls may be alike in all of that, and one of them may have gone elsewhere. So a call that failed must say
the gateway's own words, and of embeddings that are alike at the same time none is joined unless each client
has a call of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from airboss.domain.record import InferenceRecord
from airboss.store.joining import StoredRecord, read_record
from airboss.store.span_answers import span_of
from airboss.store.span_rows import Span, SpanDetail

CALLS_MAX: Final = 2_000
"""Calls of the gateway that are looked at for the spans that are settled at once."""
SKEW: Final = timedelta(milliseconds=100)
"""By how much the clock of who sends spans may be off: a call of the gateway is while its client waits."""
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
    question: str
    words: str


def clients_of(spans: Iterable[SpanDetail], texts: Mapping[str, bytes]) -> list[Client]:
    """Those of these calls that may be known by what they ask; `texts` are the records that they would
    become, as JSON and by the spans' ids."""
    found = []
    for span in spans:
        try:
            record = read_record(texts[span.id])
        except (KeyError, ValueError):
            continue
        question = _question(_value(bytes(record.request)))
        if question is not None and (record.status == "error" or record.operation == "embeddings"):
            # A client shows an error as Python's or JavaScript's text of it, quotes and line ends escaped.
            words = _ODD.sub("", _ESCAPED.sub("", span.message or ""))
            found.append(Client(span=span, record=record, question=question, words=words))
    return found


def asked_in(clients: Sequence[Client]) -> dict[str, Any]:
    """Which calls of the gateway may be theirs: `since`, `until`, `keys`."""
    return {
        "since": min(each.span.started_at for each in clients) - SKEW,
        "until": max(each.ended_at for each in clients) + SKEW,
        "keys": sorted({each.span.key for each in clients}),
    }


def joined(clients: Sequence[Client], records: Iterable[InferenceRecord]) -> dict[str, Span]:
    """For each of these clients whose call is one of the gateway's (of `records`, those that came without a
    trace), by its span's id: the span that the latter is in its trace."""
    calls: defaultdict[str, list[_Call]] = defaultdict(list)
    for record in sorted(records, key=lambda each: (each.started_at, each.id)):
        question = _question(record.request)
        if question is not None:
            calls[question].append(_Call(record=record, question=question, words=_words(record.response)))
    asked: defaultdict[tuple[str, bool], list[Client]] = defaultdict(list)
    for client in clients:
        asked[client.question, client.record.status == "error"].append(client)
    found: dict[str, Span] = {}
    for (question, _), alike in asked.items():
        for group in _at_once(sorted(alike, key=lambda each: (each.span.started_at, each.span.id))):
            found |= _matched(group, calls.get(question, ()))
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


def _matched(clients: Sequence[Client], calls: Sequence[_Call]) -> dict[str, Span]:
    """Each client with a call of its own; none where there are not as many as that."""
    theirs = [call for call in calls if any(_fits(client, call) for client in clients)]
    failed = clients[0].record.status == "error"
    # One who is told to try again makes several calls under one span, which fail alike.
    if len(theirs) < len(clients) or (len(theirs) > len(clients) and not failed):
        return {}
    found: dict[str, Span] = {}
    for client in sorted(clients, key=lambda each: each.ended_at):
        call = next((each for each in theirs if _fits(client, each)), None)
        if call is None:
            return {}
        theirs.remove(call)
        found[client.span.id] = span_of(call.record, client.span)
    return found


def _fits(client: Client, call: _Call) -> bool:
    record, mine = call.record, client.record
    ended_at = record.started_at + timedelta(milliseconds=record.latency_ms)
    if record.key != client.span.key or record.operation != mine.operation:
        return False
    if record.started_at < client.span.started_at - SKEW or ended_at > client.ended_at + SKEW:
        return False
    if mine.status == "error":
        return record.status in FAILED and len(call.words) >= WORDS_MIN and call.words in client.words
    same = None in {record.input_tokens, mine.input_tokens} or record.input_tokens == mine.input_tokens
    return record.status == "ok" and same


def _question(request: Any) -> str | None:
    """What a request asks, and of which model, as it was written; None where that is not known."""
    if not isinstance(request, dict) or not isinstance(request.get("model"), str):
        return None
    said = {name: request[name] for name in _CONTENT if request.get(name) is not None}
    if not said.keys() & {"input", "messages", "prompt"}:
        return None
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
