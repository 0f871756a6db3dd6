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
from functools import lru_cache

from airboss.governance.candidates import Kind
from airboss.governance.policies import ALL

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class _Forms:
    """What placeholders of these kinds look like: at most `longest` characters; `begun` ends a text."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        labels = "|".join(sorted((kind.upper() for kind in kinds), key=len, reverse=True))
        label_max = max(map(len, kinds))
        self.longest = label_max + len("<_123456789>")
        self.numbered = re.compile(rf"<(?:{labels})_[0-9]{{1,9}}>")
        self.begun = re.compile(rf"<(?:[A-Z_]{{0,{label_max}}}(?:_[0-9]{{0,9}})?)?\Z")
        self.written = re.compile(rf"({labels})_([0-9]{{1,9}})".encode())


_forms = lru_cache(maxsize=256)(_Forms)  # a few policies
_BUILT_IN = _Forms(ALL)


class Tokens:
    """The placeholders of one call. Not for several threads at once.

    `key` makes the letters: random, and of this call only. Numbers that `written`, the request, has in
    placeholders already (those of an earlier turn) are not given out again. `kinds` are those that the call's
    policy defines itself.
    """

    def __init__(self, key: bytes, written: bytes = b"", kinds: tuple[str, ...] = ()) -> None:
        self._key = key
        self.forms = _forms((*ALL, *kinds)) if kinds else _BUILT_IN
        self._names: dict[bytes, str] = {}
        self._last: dict[str, int] = {}
        for kind, number in self.forms.written.findall(written):
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
        return self.forms.numbered.sub(lambda found: self._original(found[0], in_json=in_json), text)

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
        forms = self._tokens.forms
        begun = forms.begun.search(text, max(0, len(text) - forms.longest))
        end = begun.start() if begun else len(text)
        self._held = text[end:]
        return self._tokens.restored(text[:end])

    def finish(self) -> str:
        """The rest."""
        text, self._held = self._held, ""
        return text
