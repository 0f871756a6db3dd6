"""Where a stream that broke off is gone on with: the events of the second attempt become events of the first.
Pure.

Some upstreams begin again with what they were given, and some with another answer; neither may reach a client
that has the beginning already. So the first text is held back while it says the beginning again: all of it
said again is left out, and an answer that turns off half-way is not one that goes on.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.gateway.sse import event_data
from airboss.providers.compatible import Reply, read_event
from airboss.providers.lenient import any_json, without_halves
from airboss.providers.usage import Usage

NOT_CONTINUED = "not_continued"
"""The code of an answer that is another one."""
AGAIN_CHARS = 16
"""So many characters of the beginning said again are no chance."""
NAME_CHARS = 128
"""So much of what was said last is looked at for a name."""
_PROGRAMS = re.compile(r"(?:[a-z0-9][A-Z]|[\w)\]][._]|[`$@#])[A-Za-z0-9]*\Z")
"""At the end of a text a name of a program's: with a capital inside, or behind a dot, a line or a mark."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Seam:
    """Joins one attempt to what came before: `text`, in `tokens` tokens, of an answer that `first` names.
    `prompt_tokens` is what its prompt had, where that was said. `blank` is white space at its end that was
    not sent upstream. `exact`: the upstream is known to go on."""

    def __init__(
        self, first: Reply, text: str, *, tokens: int, prompt_tokens: int | None, blank: str, exact: bool
    ) -> None:
        self.prompt_tokens = prompt_tokens
        """What the first prompt had, as far as it is known by now."""
        self._text = text
        self._tokens = tokens
        self._blank = blank
        self._bare = bool(blank)
        self._looks = not exact
        self._index = first.choices[0].index if first.choices else 0
        self._names = {"id": first.id, "created": first.created, "model": first.model}
        self._again = 0
        """How many characters of the beginning have been said again."""
        self._field = "content"
        self.usage: Usage | None = None
        """What the upstream said that this attempt used."""
        self._left_out = ""
        self._thought: list[str] = []

    @property
    def left_out(self) -> str:
        """What the upstream said and the client does not get: the beginning again, or another answer."""
        return self._text[: self._again] if self._looks else self._left_out

    @property
    def thought(self) -> str:
        """What the upstream thought before it went on."""
        return "".join(self._thought)

    def joined(self, events: list[bytes]) -> list[bytes]:
        """The events as the client should have them. Raises UpstreamFailed for another answer."""
        out: list[bytes] = []
        for event in events:
            try:
                payload = event_data(event)
                reply = read_event(payload) if payload and payload != b"[DONE]" else None
            except UpstreamFailed:
                payload = reply = None  # told by who reads it next, behind what came before it
            if not payload or reply is None or reply.says_error:
                out.append(event)
            else:
                out += self._event(payload, reply)
        return out

    def _event(self, payload: bytes, reply: Reply) -> list[bytes]:
        value = _value(payload)
        value |= {name: known for name, known in self._names.items() if known is not None}
        if reply.usage is not None and isinstance(value.get("usage"), dict):
            self.usage = reply.usage
            value["usage"] = self._summed(value["usage"], reply.usage)
        choices = value.get("choices")
        if not isinstance(choices, list) or not reply.choices or not isinstance(choices[0], dict):
            return [_event(value)] if value.get("usage") else []
        choice = choices[0]
        choice["index"] = self._index  # one answer has one, whoever goes on with it
        read = reply.choices[0]
        part = read.delta or read.message
        if part is not None and part.thought:
            self._thought.append(part.thought)
        if part is None:
            said, self._field = choice, "text"
        else:
            said, self._field = choice["message" if read.delta is None else "delta"], "content"
            said.pop("role", None)
        text = read.text if part is None else part.content
        text = self._new(text) if text else ""
        if choice.get("finish_reason") and self._looks and self._again:
            raise UpstreamFailed("the upstream began its answer again and stopped", code="stream_cut")
        said[self._field] = text
        if not text and said is not choice:
            del said[self._field]
        if not text and not choice.get("finish_reason") and not said.get("tool_calls"):
            return []
        return [_event(value)]

    def _new(self, text: str) -> str:
        """What of a piece of text is new."""
        if self._blank:
            # Not sent, so the upstream may say it itself.
            had = len(text) - len(text.lstrip())
            common = 0
            while common < min(had, len(self._blank)) and text[common] == self._blank[common]:
                common += 1
            # It may come in pieces.
            self._blank = self._blank[common:] if common == len(text) else ""
            text = text[common:]
        if not self._looks:
            return text
        again = self._again + len(text)
        if again < len(self._text) and self._text.startswith(text, self._again):
            self._again = again
            return ""
        said = self._text[: self._again] + text
        self._looks = False
        if said.startswith(self._text):
            self._left_out = self._text
            return said[len(self._text) :]
        same = next(
            (at for at, (a, b) in enumerate(zip(said, self._text, strict=False)) if a != b), len(said)
        )
        if same >= AGAIN_CHARS or (not self._bare and _begins(said, self._text)):
            self._left_out = said
            raise UpstreamFailed("the upstream did not go on but began another answer", code=NOT_CONTINUED)
        return said

    def _summed(self, shown: dict[str, Any], own: Usage) -> dict[str, Any]:
        """Usage as one answer would have had it: the first prompt, and all the output."""
        if self.prompt_tokens is None:
            self.prompt_tokens = max(0, (own.prompt_tokens or 0) - self._tokens)
        prompt = self.prompt_tokens
        output = (own.completion_tokens or 0) + self._tokens
        details = shown.get("prompt_tokens_details")
        if isinstance(details, dict):  # of a longer prompt, with the answer's beginning: parts of this one
            read = min(own.cached, prompt)
            most = {"cached_tokens": read, "cache_write_tokens": prompt - read}
            counts = {
                name: min(details[name], most[name]) for name in most if isinstance(details.get(name), int)
            }
            shown = shown | {"prompt_tokens_details": details | counts}
        return shown | {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
        }


def _begins(said: str, text: str) -> bool:
    """Whether an answer begins anew behind `text`: in the middle of a sentence nobody goes on with a capital,
    but in a name of capitals and digits, a key or an account number, or in one of a program's
    (`getElementBy`, `list.add`, `MAX_`)."""
    last = text[-1:]
    if not said[:1].isupper() or not last.isalnum():
        return False
    if last.islower():
        return _PROGRAMS.search(text, max(0, len(text) - NAME_CHARS)) is None
    return not (said[1:2].isupper() or said[1:2].isdigit())


def _value(payload: bytes) -> dict[str, Any]:
    """An event that `read_event` could read."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        read: dict[str, Any] = any_json(without_halves(payload.decode("utf-8", "replace").encode()))
        return read


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % _encode(value)
