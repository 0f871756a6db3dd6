"""Screened answers that are no chat: vectors, and what routes that are passed on bring. Loaded where there is
a policy only.

JSON is screened string by string, other text as text; pictures and sound pass. What is blocked is refused: of
such an answer no beginning means anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from airboss.domain.errors import PolicyRefused, UpstreamFailed
from airboss.gateway.base_answer import ANSWER_BYTES_MAX
from airboss.gateway.embeddings import EmbeddingsAnswer
from airboss.gateway.relayed_answer import DONE, EVENT_STREAM, JSON, KEPT_BYTES_MAX, RelayedAnswer
from airboss.gateway.screened_answers import BLOCKED, KEEP_ALIVE, ScreenedAnyWhole
from airboss.gateway.splice import join_members, members
from airboss.gateway.sse import Splitter, event_data
from airboss.governance.screening_chat import AnswerScreen, Passed
from airboss.governance.screening_json import emptied, screen_json
from airboss.providers.compatible import Reply
from airboss.providers.connection import Headers
from airboss.providers.lenient import without_halves

_PIECES: Final = frozenset({"delta"})
"""Members of events that hold a piece of a text: a value may go on in the next."""
_NAME: Final = re.compile(rb"(?:^|\n)event: ?([a-z_.]{1,100})\r?(?:\n|\Z)")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""What no text holds, and of pictures and sound every beginning does."""
_BASE64: Final = re.compile(rb'"([A-Za-z0-9+/]+)={0,2}"')
_FLOAT_BYTES: Final = 4
_encode = msgspec.json.Encoder().encode


class OtherScreen(AnswerScreen):
    """Of an answer that has no choices."""

    def _prefixes(self, body: bytes) -> bytes:
        screen_json(
            self._policy, body, where="response", findings=self._findings, tokens=self._tokens
        )  # what was found is told all the same
        return b"{}"


class VectorScreen(OtherScreen):
    """Of an answer with vectors, which hold nobody's words: all but them is screened."""

    def whole(self, body: bytes) -> Passed:
        """As `AnswerScreen.whole`."""
        bare, vectors = _apart(body)
        passed = super().whole(bare)
        if not self.acts:
            return Passed(body, body)
        if self.blocked:
            return passed
        recorded = _joined(passed.recorded, vectors)
        given = recorded if passed.given is passed.recorded else _joined(passed.given, vectors)
        return Passed(recorded, given)


class _Listed(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]


def _apart(body: bytes) -> tuple[bytes, dict[int, msgspec.Raw]]:
    """An answer with null for each vector, and the vectors by their places; as it is where it lists none."""
    try:
        listed = msgspec.json.decode(body, type=_Listed).data
        values = members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body, {}
    vectors = {
        place: each["embedding"]
        for place, each in enumerate(listed)
        if "embedding" in each and _is_vector(each["embedding"])
    }
    for place in vectors:
        listed[place] = {**listed[place], "embedding": msgspec.Raw(b"null")}
    return join_members({**values, "data": _encode(listed)}), vectors


def _joined(bare: bytes, vectors: dict[int, msgspec.Raw]) -> bytes:
    if not vectors:
        return bare
    listed = msgspec.json.decode(bare, type=_Listed).data
    for place, vector in vectors.items():
        listed[place]["embedding"] = vector
    return join_members({**members(bare), "data": _encode(listed)})


def _is_vector(raw: msgspec.Raw) -> bool:
    """Whether it is numbers, or whole floats in base64."""
    said = bytes(raw)
    if said[:1] == b'"':
        found = _BASE64.fullmatch(said)
        return found is not None and len(found[1]) * 3 // 4 % _FLOAT_BYTES == 0
    try:
        msgspec.json.decode(said, type=list[float])
    except msgspec.DecodeError:
        return False
    return True


class ScreenedEmbeddingsAnswer(ScreenedAnyWhole, EmbeddingsAnswer):
    """Vectors, of an upstream that a policy does not trust with the words around them."""

    refuses = True


class ScreenedRelayedAnswer(ScreenedAnyWhole, RelayedAnswer):
    """An answer that is passed on: text waits until it is whole, and events go on one by one."""

    refuses = True
    cleaned: Callable[[str], str]
    """What is to be said of its type: an upstream may say anything there."""
    _coding: str | None = None
    """Of text that is no JSON, and is screened as a string of it."""
    _is_text: bool | None = None
    _events: Splitter

    def head(self, status: int, headers: Headers) -> None:
        """Keep the head."""
        super().head(status, headers)
        self._events = Splitter()
        if self.screen.acts:
            self.headers = {
                name: self.cleaned(value.decode("latin-1")).encode("latin-1", "replace")
                for name, value in headers.items()
            }

    @property
    def _waits(self) -> bool:
        return self._good and self.screen.acts

    def _take(self, data: bytes) -> None:
        if self._waits and self._kind().startswith(EVENT_STREAM):
            data = self._screened(self._events.feed(data))
            if not data:
                return
        elif self._waits and not self.committed and self._size + len(data) > KEPT_BYTES_MAX:
            if self._is_text is None:
                self._is_text = self._reads_as_text(b"".join((*self._pieces, data))[:KEPT_BYTES_MAX])
            if self._is_text:
                self._hold(data)
                return
        super()._take(data)

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        self._pieces.append(data)
        if self._size > ANSWER_BYTES_MAX:
            raise UpstreamFailed(
                f"provider {self.provider!r} sent over {ANSWER_BYTES_MAX} bytes of text, which a policy reads"
            )

    def _reads_as_text(self, begun: bytes) -> bool:
        return self._kind().startswith((JSON, b"text/")) or _CONTROLS.search(begun) is None

    def _screened(self, events: Iterable[bytes]) -> bytes:
        """What goes on of events. Raises PolicyRefused."""
        out: list[bytes] = []
        for event in events:
            payload = event_data(event)
            if payload is None:
                out.append(KEEP_ALIVE)
            elif payload == DONE:
                out.append(b"data: %s\n\n" % payload)
            elif _is_json(payload):  # anything else cannot be read piece by piece
                given = self.screen.whole(emptied(payload, _PIECES)).given
                if self.screen.blocked:
                    raise PolicyRefused(BLOCKED)
                name = _NAME.search(event)
                out += [b"event: %s\n" % name[1]] if name is not None else []
                out.append(b"data: %s\n\n" % re.sub(rb"[\r\n]", b" ", given))
        return b"".join(out)

    def _end(self) -> None:
        if self._waits and self._kind().startswith(EVENT_STREAM):
            last = self._screened(self._events.feed(self._events.ending()))
            if last:
                super()._take(last)
            if event_data(self._events.rest) is not None:
                raise self._cut()
        super()._end()

    def _take_in(self, content: bytes, reply: Reply) -> None:
        if self.committed or not self._reads_as_text(content[:KEPT_BYTES_MAX]):
            self.given = content
            RelayedAnswer._take_in(self, content, reply)
            return
        if not _is_json(content):
            self._coding = "utf-8" if _is_utf8(content) else "latin-1"
            content = _encode(content.decode(self._coding))
        super()._take_in(content, reply)

    def _reply(self, recorded: bytes, reply: Reply) -> Reply:  # noqa: ARG002 - as in every answer that is screened
        return reply  # what it used, which is no text

    @property
    def _delivered(self) -> bytes:
        if self._coding is None:
            return self.given
        text: str = msgspec.json.decode(self.given)
        return text.encode(self._coding, "replace")


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(without_halves(text))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
