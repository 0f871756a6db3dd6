"""Answers of `/completions` to a raw prompt, read as what was asked for: a chat's, or a trimmed text. Pure.

The prompt ends in `Output:`. What follows begins with a space and ends with blank lines, which are not the
answer's. In a stream white space is held back until it is known whether more comes after it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.providers.cut import beginning
from airboss.providers.dialect import DONE

Raw = msgspec.Raw
Members = dict[str, Raw]
_SPACE = " \t\r\n"
PROGRESS = b'"prompt_progress":'
"""A local engine's event about the prompt, which is not for the client; `gateway.answer` takes it out."""
_NULL = Raw(b"null")


class _Choice(msgspec.Struct):
    """One choice of a text completion, whole or a piece of one."""

    index: int = 0
    text: str | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None


_members = msgspec.json.Decoder(Members)
_answer = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode


class Trimmed:
    """Takes a text in pieces and gives it back without white space around it: joined, what `add` returns is
    `text.strip()`. `begun` keeps the white space at its start."""

    def __init__(self, *, begun: bool = False) -> None:
        self._begun = begun
        self._held: list[str] = []

    def add(self, text: str) -> str:
        """What is certain to belong to the answer by now."""
        if not self._begun:
            text = text.lstrip(_SPACE)
            self._begun = bool(text)
        certain = text.rstrip(_SPACE)
        if not certain:
            self._held += [text] if text else []
            return ""
        said = "".join((*self._held, certain))
        self._held = [text[len(certain) :]]
        return said


class CompletedReader:
    """Reads the answers to a raw prompt. `chat` is whether a chat answer is wanted, else the text stays one;
    `begun` whether the prompt had the beginning of the answer."""

    def __init__(self, *, chat: bool, begun: bool) -> None:
        self._chat = chat
        self._begun = begun
        self._texts: dict[int, Trimmed] = {}

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        members, choices = _read(body)
        if choices is None:
            return body
        made: list[Any] = []
        for choice in choices:
            text = Trimmed(begun=self._begun).add(choice.text or "")
            if self._chat:
                message = {"role": "assistant", "content": text, "refusal": None}
                made.append({"index": choice.index, "message": message})
            else:
                made.append({"index": choice.index, "text": text})
            made[-1] |= {"logprobs": None, "finish_reason": choice.finish_reason}
        return self._answer(members, made, "chat.completion")

    def event(self, data: bytes) -> list[bytes]:
        """One event: a piece that is all white space makes none."""
        if data == DONE or PROGRESS in data:
            return [data]
        members, choices = _read(data)
        if not choices:
            return [data if choices is None else self._answer(members, [], "chat.completion.chunk")]
        made = [piece for choice in choices if (piece := self._piece(choice)) is not None]
        if not made and members.get("usage", _NULL) == _NULL:
            return []
        return [self._answer(members, made, "chat.completion.chunk")]

    def _piece(self, choice: _Choice) -> dict[str, Any] | None:
        trimmed = self._texts.get(choice.index)
        first = trimmed is None
        if trimmed is None:
            trimmed = self._texts[choice.index] = Trimmed(begun=self._begun)
        text = trimmed.add(choice.text or "")
        if not (text or first or choice.finish_reason):
            return None
        piece: dict[str, Any] = {"index": choice.index}
        if not self._chat:
            piece["text"] = text
        else:
            piece["delta"] = {"content": text} if text else {}
            if first:
                piece["delta"] = {"role": "assistant", "content": text}
        return piece | {"logprobs": None, "finish_reason": choice.finish_reason}

    def _answer(self, members: Members, choices: list[Any], kind: str) -> bytes:
        return _encode(
            {**members, "object": kind if self._chat else "text_completion", "choices": choices},
        )

    def end(self) -> list[bytes]:
        """Nothing: what was held back is not the answer's."""
        return []

    def told(self) -> None:
        """Nothing: it stands in the answer as OpenAI has it."""

    def error(self, status: int, body: bytes) -> bytes:  # noqa: ARG002 - other dialects look at the status
        """As it came."""
        return body


def _read(data: bytes) -> tuple[Members, list[_Choice] | None]:
    """The members of an answer, and its choices; None where it is no text completion but an error, say."""
    try:
        return _members.decode(data), _answer.decode(data).choices
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        shown = beginning(data, 80)
        raise UpstreamFailed(f"the upstream's answer is no text completion; it begins {shown!r}") from None
