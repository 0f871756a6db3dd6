"""What of records, spans and scores is sealed, and how it is read again.

Sealed are what was asked and answered, what spans tell (attributes, events, their error's message) and what
people and judges wrote beside their scores. Not sealed is what records are found and added up by: names of
users, sessions, tags and spans, numbers, kinds of errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.record import ClosedCall, InferenceRecord, OpenedCall
from airboss.domain.score import Score
from airboss.store.joining import StoredRecord, body, read_record
from airboss.store.keyring import Keyring, Whose
from airboss.store.opinions import has_cause
from airboss.store.rows import ROW_CHARS_MAX
from airboss.store.sealed_marks import BODY, NAME, PREFIX, UNOPENED, Unopened
from airboss.store.sealing import Key, as_body, in_body, in_value, is_sealed, seal
from airboss.store.span_rows import NOTHING, Said, Span, SpanDetail

SPAN_CHARS_MAX: Final = ROW_CHARS_MAX * 3 // 4
"""Of what is sealed of a span; what is longer is left out, as the store would refuse the span."""
CUT: Final = msgspec.Raw(b'{"cut":"too long to be kept sealed"}')
SCORE_TEXTS: Final = ("comment", "unscored")
_said: Final = msgspec.json.Decoder(Said)
Keys = Mapping[Whose, Key]


class Sealer:
    """Implements `span_messages.Texts`. `ring` gives the keys, and is asked for once they are needed."""

    def __init__(self, ring: Callable[[], Keyring]) -> None:
        self._ring = ring

    def keys(self, people: Iterable[Whose]) -> Keys:
        """A key for each. Raises StoreUnavailable."""
        return self._ring().keys(people)

    def waiting(self, span_id: str, payload: bytes) -> bytes:
        """As `span_messages.Texts.waiting`."""
        if BODY not in payload:
            return payload
        self.refresh()
        if payload.startswith(b'{"said_in":'):
            said = _said.decode(payload)
            return msgspec.json.encode(
                replace(
                    said,
                    request=self._raw(said.request, place(span_id, "said.request")),
                    response=self._raw(said.response, place(span_id, "said.response")),
                )
            )
        record = read_record(payload)
        return msgspec.json.encode(
            replace(
                record,
                request=self._raw(record.request, place(record.id, "request")),
                response=self._raw(record.response, place(record.id, "response")),
            )
        )

    def again(self, payload: bytes, *given: bytes) -> bytes:
        """As `span_messages.Texts.again`."""
        if not any(BODY in each for each in given):
            return payload
        record = read_record(payload)
        return msgspec.json.encode(seal_record(record, self.keys([whose(record)])))

    def record(self, record: InferenceRecord) -> InferenceRecord:
        """As `span_messages.Texts.record`; what does not open says why."""
        request, response = in_value(record.request), in_value(record.response)
        if request is None and response is None:
            return record
        changes: dict[str, Any] = {}
        if request is not None:
            changes["request"] = self._body(request, place(record.id, "request"))
        if response is not None:
            changes["response"] = self._body(response, place(record.id, "response"))
        return replace(record, **changes)

    def span(self, span: SpanDetail) -> SpanDetail:
        """As `span_messages.Texts.span`; what does not open says why."""
        message = span.message
        if message is not None and message.startswith(PREFIX):
            message = self._text(message, place(span.id, "message"))
        return replace(
            span,
            message=message,
            attributes=self._raw(span.attributes, place(span.id, "attributes")),
            events=self._raw(span.events, place(span.id, "events")),
        )

    def score(self, score: Score) -> Score:
        """A score in the clear; what does not open says why."""
        texts = {name: getattr(score, name) for name in SCORE_TEXTS}
        return replace(
            score,
            **{
                name: self._text(text, place(score.id, name))
                for name, text in texts.items()
                if text is not None and text.startswith(PREFIX)
            },
        )

    def text(self, text: str, whose: Whose, at: str) -> str:
        """A text sealed for this place. Raises StoreUnavailable."""
        return PREFIX + seal((self.keys([whose])[whose],), text.encode("utf-8", "replace"), at)

    def refresh(self) -> None:
        """Know who was forgotten by now. Raises StoreUnavailable."""
        try:
            self._ring().refresh()
        except SetupError as error:
            raise StoreUnavailable(str(error)) from error

    def opened(self, sealed: str, at: str) -> bytes:
        """What was sealed for this place. Raises Unopened and StoreUnavailable."""
        try:
            return self._ring().opened(sealed, at)
        except SetupError as error:
            raise StoreUnavailable(str(error)) from error

    def _body(self, sealed: str, at: str) -> Any:
        try:
            return body(self.opened(sealed, at))
        except Unopened as why:
            return {NAME: f"it cannot be opened: {why}"}

    def _raw(self, raw: msgspec.Raw, at: str) -> msgspec.Raw:
        sealed = in_body(bytes(raw))
        if sealed is None:
            return raw
        try:
            return msgspec.Raw(self.opened(sealed, at))
        except Unopened as why:
            return msgspec.Raw(msgspec.json.encode({NAME: f"it cannot be opened: {why}"}))

    def _text(self, text: str, at: str) -> str:
        try:
            return self.opened(text.removeprefix(PREFIX), at).decode("utf-8", "replace")
        except Unopened as why:
            return f"{UNOPENED}{why}]"


def place(owner: str, column: str) -> str:
    """What a text is sealed for: whose id, and what of it."""
    return f"{owner}\0{column}"


def whose(of: StoredRecord | OpenedCall | Span) -> Whose:
    """Whose bodies these are."""
    return of.user, of.started_at, "bodies"


def seal_record(record: StoredRecord, keys: Keys) -> StoredRecord:
    """The record with its bodies sealed."""
    key = keys[whose(record)]
    return replace(
        record,
        request=_sealed(record.request, key, place(record.id, "request")),
        response=_sealed(record.response, key, place(record.id, "response")),
    )


def seal_opened(call: OpenedCall, keys: Keys) -> OpenedCall:
    """The call with its request sealed."""
    if call.request is None:
        return call
    return replace(call, request=_sealed(call.request, keys[whose(call)], place(call.id, "request")))


def seal_closed(call: ClosedCall, key: Key) -> ClosedCall:
    """The end of a call with its response sealed."""
    if call.response is None:
        return replace(call, user=None)
    return replace(call, user=None, response=_sealed(call.response, key, place(call.id, "response")))


def seal_span(span: Span, keys: Keys) -> Span:
    """The span with what it tells sealed."""
    key = keys[whose(span)]
    changes: dict[str, Any] = {
        "attributes": _sealed(span.attributes, key, place(span.id, "attributes")),
        "events": _sealed(span.events, key, place(span.id, "events")),
        "message": _sealed_text(span.message, (key,), place(span.id, "message")),
    }
    for name in ("events", "attributes", "message"):  # as far as there is room
        if sum(len(bytes(changes[each])) for each in ("attributes", "events")) + len(
            changes["message"] or ""
        ) > (SPAN_CHARS_MAX):
            cut = None if name == "message" else _sealed(CUT, key, place(span.id, name))
            changes[name] = cut if changes[name] != NOTHING else NOTHING
    if bytes(span.call) != b"null":
        record = read_record(bytes(span.call))
        changes["call"] = msgspec.Raw(msgspec.json.encode(seal_record(record, {**keys, whose(record): key})))
    if bytes(span.said) != b"null":
        said = _said.decode(span.said)
        sealed = replace(
            said,
            request=_sealed(said.request, key, place(span.id, "said.request")),
            response=_sealed(said.response, key, place(span.id, "said.response")),
        )
        changes["said"] = msgspec.Raw(msgspec.json.encode(sealed))
    return replace(span, **changes)


def seal_score(score: Score, people: tuple[Whose, ...], keys: Keys) -> Score:
    """The score with what it says sealed with the keys of everybody whom it is of."""
    own = tuple(keys[each] for each in people)
    texts = {name: _sealed_text(getattr(score, name), own, place(score.id, name)) for name in said_in(score)}
    return replace(score, **texts)


def said_in(score: Score) -> tuple[str, ...]:
    """What of a score are words: a judge may quote in its cause for no value as in its comment."""
    told = {"comment": score.comment is not None, "unscored": has_cause(score)}
    return tuple(name for name in SCORE_TEXTS if told[name])


def is_sealed_score(score: Score) -> bool:
    """Whether something of a score is sealed."""
    return any(is_sealed_text(getattr(score, name)) for name in said_in(score))


def _sealed(raw: msgspec.Raw, key: Key, at: str) -> msgspec.Raw:
    data = bytes(raw)
    if data == b"null" or in_body(data) is not None:
        return raw
    str(data, "utf-8")  # as a log would, refuse what is no text
    return msgspec.Raw(as_body(seal((key,), data, at), data))


def is_sealed_text(text: str) -> bool:
    """Whether a text is sealed, and does not only begin so."""
    return text.startswith(PREFIX) and is_sealed(text.removeprefix(PREFIX))


def _sealed_text(text: str | None, keys: tuple[Key, ...], at: str) -> str | None:
    if text is None or is_sealed_text(text):
        return text
    return PREFIX + seal(keys, text.encode("utf-8", "replace"), at)
