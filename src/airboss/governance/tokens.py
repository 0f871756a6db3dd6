"""Placeholders that tell values apart: `<EMAIL_1>` is the same address wherever a call has it.

A value of the request is numbered; what it stands for is kept for as long as the call runs, so that an answer
that speaks of `<EMAIL_1>` can be given back with the address that the client itself sent. A value that only
the answer has gets letters, `<EMAIL_kbdmoh>`: it is not given back, and letters made from the value do not
depend on which of several texts came first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re

from airboss.governance.candidates import Kind
from airboss.governance.policies import ALL

PLACEHOLDER_MAX = 24
"""Characters of a placeholder, at most."""

_LABELS = "|".join(kind.upper() for kind in ALL)
_NUMBERED = re.compile(rf"<(?:{_LABELS})_[0-9]{{1,9}}>")
_BEGUN = re.compile(r"<(?:[A-Z_]{0,12}(?:_[0-9]{0,9})?)?\Z")
_WRITTEN = re.compile(rf"({_LABELS})_([0-9]{{1,9}})".encode())
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class Tokens:
    """The placeholders of one call. Not for several threads at once.

    `key` makes the letters: random, and of this call only. Numbers that `written`, the request, has in
    placeholders already (those of an earlier turn) are not given out again.
    """

    def __init__(self, key: bytes, written: bytes = b"") -> None:
        self._key = key
        self._names: dict[bytes, str] = {}
        self._last: dict[str, int] = {}
        for kind, number in _WRITTEN.findall(written):
            known = kind.decode()
            self._last[known] = max(self._last.get(known, 0), int(number))
        self._sealed = False
        self.originals: dict[str, str] = {}

    def name(self, kind: Kind, identity: bytes) -> str:
        """The placeholder of a value; `identity` is the same for all its spellings."""
        known = self._names.get(identity)
        if known is not None:
            return known
        label = kind.upper()
        if self._sealed:
            mac = hmac.new(self._key, identity, hashlib.sha256).hexdigest()
            return f"<{label}_{mac[:6].translate(_LETTERS)}>"
        number = self._last[label] = self._last.get(label, 0) + 1
        name = self._names[identity] = f"<{label}_{number}>"
        return name

    def remember(self, name: str, original: str) -> None:
        """Keep what a placeholder stands for; of several spellings the first."""
        self.originals.setdefault(name, original)

    def seal(self) -> None:
        """The request is through: values that come now are the answer's."""
        self._sealed = True

    def restored(self, text: str, *, in_json: bool = False) -> str:
        """The text with the request's values in it again; `in_json`: it is JSON, and they go into strings."""
        if not self.originals or "<" not in text:
            return text
        return _NUMBERED.sub(lambda found: self._original(found[0], in_json=in_json), text)

    def _original(self, name: str, *, in_json: bool) -> str:
        original = self.originals.get(name, name)
        return json.dumps(original, ensure_ascii=False)[1:-1] if in_json else original


class Restorer:
    """`Tokens.restored` for a text that comes in pieces: holds back the beginning of a placeholder only."""

    __slots__ = ("_held", "_tokens")

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece; what may go out."""
        if not self._tokens.originals:
            return text
        text = self._held + text
        begun = _BEGUN.search(text, max(0, len(text) - PLACEHOLDER_MAX))
        end = begun.start() if begun else len(text)
        self._held = text[end:]
        return self._tokens.restored(text[:end])

    def finish(self) -> str:
        """The rest."""
        text, self._held = self._held, ""
        return text
