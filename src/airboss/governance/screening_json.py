"""Screening JSON: every string is screened as the text it stands for, so that no escape hides anything, and
every byte that need not change stays as it is.

Names are screened like values. A number that is a value (a card in a tool's arguments) becomes a string that
holds the placeholder, so that valid JSON stays valid. `arguments` (a tool call's) is JSON within a string,
and is screened as that. A string under a name such as `password` is taken as assigned to it.

What a model finds (`names.py`) is looked for in sentences, and not in what is a setting: a single word is
read only where it is said (`_TEXTS`) or handed to a tool, and not where it is the name of a member.

Kinds that a policy defines itself are looked for in all but the words of the protocol (`"role": "user"`): any
word may be one of theirs. Numbers may be theirs in what is handed to a tool.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Literal

import msgspec

from airboss.domain.release import CustomKind
from airboss.governance.candidates import Kind
from airboss.governance.findings import Findings
from airboss.governance.policies import NAMED
from airboss.governance.screening import (
    ScreeningPolicy,
    built_in,
    screen_text,
    screening_policy,
    without_names,
)
from airboss.governance.tokens import Tokens

NESTED_MAX = 4
"""How deep JSON within strings of JSON is screened as JSON; deeper it is screened as text."""

Names = tuple[str, ...]
"""The names of the members on the way to a value; a list has that of its member."""

Place = Literal["name", "member", "item"]
"""What a string is: the name of a member, all of a member's value, or in a list."""

_TOKEN = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?|[][{}]|-?\d[\d.eE+-]{6,}+', re.DOTALL)
_TOKEN_SHORT = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?|[][{}]|-?\d[\d.eE+-]++', re.DOTALL)
"""The same with all numbers but single digits."""
_WHOLE = re.compile(rb"-?\d{7,}(?:\.0*)?")
"""A number that may be somebody's: fractions, such as a log-probability's, are measures."""
_WHOLE_SHORT = re.compile(rb"-?\d{2,}(?:\.0*)?")
_SHORTEST = 7  # bytes of a string with its quotes; no detector finds less than five characters
_SHORTEST_NAME = 4
_TEXTS = frozenset(
    {
        "content", "text", "refusal", "reasoning", "reasoning_content", "thinking", "input", "output",
        "prompt", "arguments", "partial_json", "code", "transcript", "part", "delta", "instructions",
        "system", "query", "documents",
    }
)  # fmt: skip
"""Members whose strings are texts, be they a word long."""
_PROTOCOL = frozenset(
    {
        "role", "type", "object", "status", "finish_reason", "native_finish_reason", "stop_reason", "detail",
        "effort", "reasoning_effort", "verbosity", "format", "response_format", "encoding_format",
        "output_format", "input_type", "mode", "service_tier", "truncation", "tool_choice", "modalities",
        "include", "quality", "size", "background", "voice", "phase", "order",
    }
)  # fmt: skip
"""Members whose single words are the protocol's."""
_PROTOCOL_WORD = re.compile(rb'"[a-z][a-z0-9_.-]*"')
_PROTOCOL_NAME = re.compile(rb'"[a-z_][a-z0-9_]*"')
_BASE64 = re.compile(rb'"(data:[^",]{0,200};base64,)?[A-Za-z0-9+/]{256,}={0,2}"')
_MEDIA = frozenset(
    {"url", "data", "file_data", "b64_json", "image_url", "signature", "partial_image_b64", "result", "audio"}
)
_SEALED = "encrypted_content"
"""A name of what only its maker can read, and wants back as it was."""
_OPAQUE = re.compile(rb'"[A-Za-z0-9+/_-]{64,}={0,2}"')
_WORD = re.compile(rb'"[a-z_.]+"')
_UUID = re.compile(rb'"[A-Za-z_.:-]{0,40}[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"')
_SECRET_NAME = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|wort)|pwd|secret|credentials?|token"
    r"|(?:api|access|secret|private|account|auth|encryption|signing)[_-]?key)\Z"
)
_ASSIGNED = 'password":"'


class ScreenedJson(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON text, screened. If it was blocked `data` is empty: no part of it means anything alone."""

    data: bytes
    blocked: bool


def screen_json(
    policy: ScreeningPolicy,
    raw: bytes,
    *,
    where: str,
    findings: Findings,
    tokens: Tokens | None = None,
    spared: frozenset[Names] = frozenset(),
    opaque: frozenset[Names] = frozenset(),
    emptied: frozenset[str] = frozenset(),
) -> ScreenedJson:
    """`raw` with its values screened; the same object if nothing changed. What is not JSON is screened as
    UTF-8 text.

    What was found goes into `findings`, under `where` and the names that lead to it. The texts at `spared`
    are left alone, and those at `opaque` are taken as `identifier` takes them, but not what is in lists or
    objects there; the values of members called as in `emptied` become null, wherever they stand. Raises
    ValueError for `tokenize` without tokens.
    """
    kind = _CustomWalk if policy.custom else _Walk
    walk = kind(policy, tokens, findings, spared=spared, opaque=opaque, emptied=emptied)
    at = tuple(where.split("."))
    data = walk.document(raw, at, 0) if _is_json(raw) else walk.plain(raw, at)
    return ScreenedJson(data=b"" if walk.blocked else data, blocked=walk.blocked)


@lru_cache(maxsize=64)  # a few policies
def _masks(kinds: frozenset[Kind], custom: tuple[CustomKind, ...]) -> ScreeningPolicy:
    return screening_policy(dict.fromkeys(kinds.difference(NAMED), "mask"), custom=custom)


def identifier(policy: ScreeningPolicy, raw: bytes) -> bytes:
    """JSON that names or counts something and is no text, with a mask for every value that the policy does
    something about. No answer is refused for what its id looks like, and nothing of it is counted. A UUID
    stays, whose digits may look like anybody's number."""
    if b'"' not in raw or _UUID.fullmatch(raw) is not None or policy.acting.issubset(NAMED):
        return raw
    kinds, custom = policy.acting, policy.custom
    if custom and _WORD.fullmatch(raw) is not None:  # such as "chat.completion"
        kinds, custom = kinds.difference(policy.labels), ()
    masks = _masks(kinds, custom)
    return screen_json(masks, raw, where="response", findings=Findings(masks)).data


def restore_json(tokens: Tokens, raw: bytes) -> bytes:
    """`raw`, valid JSON, with the request's values for their placeholders in every string."""
    if not tokens.originals:
        return raw

    def change(names: Names, span: bytes, place: Place) -> bytes | None:  # noqa: ARG001 - as `_changed` calls it
        if span[:1] != b'"':
            return None
        text = _decoded(span)
        back = tokens.restored(
            text, in_json=names[-1:] == ("arguments",) and _is_json(text.encode("utf-8", "surrogatepass"))
        )
        return None if back == text else _encoded(back)

    return _changed(raw, (), change)


class _Walk:
    """One pass over a JSON text, and over what is JSON within it."""

    SHORTEST = _SHORTEST
    NUMBERS = (_TOKEN, _WHOLE)

    def __init__(
        self,
        policy: ScreeningPolicy,
        tokens: Tokens | None,
        findings: Findings,
        *,
        spared: frozenset[Names],
        opaque: frozenset[Names],
        emptied: frozenset[str],
    ) -> None:
        self._policy = policy
        self._bare = without_names(policy) if policy.asks_names else None
        self._tokens = tokens
        self._findings = findings
        self._spared = spared
        self._opaque = opaque
        self._emptied = emptied
        self.blocked = False

    def document(self, raw: bytes, at: Names, nested: int) -> bytes:
        if self._emptied and nested == 0:
            raw = emptied(raw, self._emptied)

        def change(names: Names, span: bytes, place: Place) -> bytes | None:
            if self.blocked:
                return None
            if place == "member" and not nested and names in self._opaque and span[:1] == b'"':
                named = identifier(self._policy, span)
                return None if named is span else named
            if span[:1] == b'"':
                return self._string(at, names, span, nested, place)
            # Numbers beside the texts are settings, such as a seed.
            return self._number(at + names, span, nested) if nested or len(names) > 1 else None

        shortest = self.SHORTEST if self._bare is None else _SHORTEST_NAME
        return _changed(raw, () if nested else self._spared, change, shortest, self.NUMBERS)

    def plain(self, raw: bytes, at: Names) -> bytes:
        text = raw.decode("utf-8", "surrogateescape")
        found = self._screened(self._policy, text, at)
        return raw if found is None else found.encode("utf-8", "surrogateescape")

    def _string(self, at: Names, names: Names, span: bytes, nested: int, place: Place) -> bytes | None:
        """The string that takes its place, or None if nothing was found in it."""
        name = names[-1] if names else ""
        media = _BASE64.fullmatch(span) if name in _MEDIA else None
        if media is not None and media[1] is not None:
            return self._head_of_media(at + names, span, media.end(1))
        if media is not None or (name == _SEALED and _OPAQUE.fullmatch(span)):
            return None
        text = _decoded(span)
        if name == "arguments" and nested < NESTED_MAX:
            inner = text.encode("utf-8", "surrogatepass")
            if _is_json(inner):
                screened = self.document(inner, at + names, nested + 1)
                return None if screened is inner else _encoded(screened.decode("utf-8", "surrogatepass"))
        prefix = _ASSIGNED if _SECRET_NAME.search(name) else ""
        if self._bare is None or not _may_name(at + names, place, text):
            found = self._screened(self._bare or self._policy, prefix + text, at + names)
            return None if found is None else _encoded(found[len(prefix) :])
        read = self._screened(self._policy, text, at + names)
        if prefix:  # which is no part of a name
            found = self._screened(self._bare, prefix + (text if read is None else read), at + names)
            read = read if found is None else found[len(prefix) :]
        return None if read is None else _encoded(read)

    def _head_of_media(self, at: Names, span: bytes, end: int) -> bytes | None:
        """A data URL whose type and name, which stand before its base64, are screened."""
        head = span[1:end].decode("utf-8", "replace")
        policy = self._policy if self._bare is None or _may_name(at, "member", head) else self._bare
        found = self._screened(policy, head, at)
        return None if found is None else _encoded(found)[:-1] + span[end:]

    def _number(self, at: Names, span: bytes, nested: int) -> bytes | None:  # noqa: ARG002 - as `_CustomWalk`
        found = self._screened(self._bare or self._policy, span.decode(), at)
        return None if found is None else _encoded(found)

    def _screened(self, policy: ScreeningPolicy, text: str, at: Names) -> str | None:
        """The text screened, None if it stays."""
        found = screen_text(policy, text, self._tokens)
        if not found.findings:
            return None
        self._findings.add(found.findings, at)
        self.blocked = self.blocked or found.blocked
        return found.text if found.blocked or found.text != text else None


class _CustomWalk(_Walk):
    """The same for a policy that defines kinds itself."""

    SHORTEST = _SHORTEST_NAME
    NUMBERS = (_TOKEN_SHORT, _WHOLE_SHORT)

    @cached_property
    def _built_in(self) -> ScreeningPolicy:
        return built_in(self._policy)

    def _string(self, at: Names, names: Names, span: bytes, nested: int, place: Place) -> bytes | None:
        if not _is_protocols(at + names, place, span, handed=_handed(at + names, nested)):
            return super()._string(at, names, span, nested, place)
        found = self._screened(self._built_in, _decoded(span), at + names)
        return None if found is None else _encoded(found)

    def _number(self, at: Names, span: bytes, nested: int) -> bytes | None:
        if _handed(at, nested):
            return super()._number(at, span, nested)
        if _WHOLE.fullmatch(span) is None:
            return None
        found = self._screened(self._built_in, span.decode(), at)
        return None if found is None else _encoded(found)


def _handed(path: Names, nested: int) -> bool:
    """Whether a value is part of what is handed to a tool, or of what a caller calls a call."""
    within = nested > 0 or "arguments" in path or "metadata" in path
    return within or ("content", "input") in itertools.pairwise(path)


def _is_protocols(path: Names, place: Place, span: bytes, *, handed: bool) -> bool:
    """Whether a string is a word of the protocol."""
    if handed:
        return False
    if place == "name":
        return _PROTOCOL_NAME.fullmatch(span) is not None
    return path[-1] in _PROTOCOL and _PROTOCOL_WORD.fullmatch(span) is not None


def _may_name(path: Names, place: Place, text: str) -> bool:
    """Whether somebody's name may be in a string: in a text, and not in a word that is a setting."""
    if len(text.split(None, 1)) > 1:
        return True
    if place == "name":
        return False
    return path[-1] in _TEXTS or "arguments" in path or ("content", "input") in itertools.pairwise(path)


def _changed(
    raw: bytes,
    spared: frozenset[Names] | tuple[()],
    change: Callable[[Names, bytes, Place], bytes | None],
    shortest: int = _SHORTEST,
    numbers: tuple[re.Pattern[bytes], re.Pattern[bytes]] = (_TOKEN, _WHOLE),
) -> bytes:
    """`raw` with what `change` makes of its strings, names and long numbers; None leaves one as it is."""
    parts: list[bytes] = []
    done = 0
    for names, start, end, place in _spans(raw, shortest, *numbers):
        if place == "member" and names in spared:
            continue
        new = change(names, raw[start:end], place)
        if new is not None:
            parts += (raw[done:start], new)
            done = end
    return b"".join((*parts, raw[done:])) if parts else raw


def _spans(
    raw: bytes, shortest: int, tokens: re.Pattern[bytes], whole: re.Pattern[bytes]
) -> Iterator[tuple[Names, int, int, Place]]:
    """Every string and long number that may hold a value, and the names of members that may: with the names
    that lead to it, where it begins and ends, and what it is. Those too short to be found in are left out.
    """
    around: list[Names] = []  # the names to the objects and lists around
    names: Names = ()
    inside: Names = ()  # the names to the object at hand
    for token in tokens.finditer(raw):
        mark = token[0]
        first = mark[:1]
        if token[2] is not None:
            names = (*inside, _decoded(token[1]))
            if token.end(1) - token.start(1) >= shortest:
                yield inside, token.start(1), token.end(1), "name"
        elif first in (b"{", b"["):
            around.append(inside)
            inside = names
        elif first in (b"}", b"]"):
            names = inside
            inside = around.pop()
        elif (len(mark) >= shortest) if first == b'"' else whole.fullmatch(mark):
            yield names, *token.span(), "member" if names is not inside else "item"


def emptied(raw: bytes, called: frozenset[str], *, by: bytes = b"null") -> bytes:
    """`raw` with null, or `by`, for every member called so, wherever it stands."""
    if b"\\u00" not in raw and not any(b'"%s"' % name.encode() in raw for name in called):
        return raw
    parts: list[bytes] = []
    done = start = depth = 0
    for token in _BRACKETS.finditer(raw):
        mark = token[0]
        if depth == 0:
            if token[2] is not None and _decoded(token[1]) in called:
                start, depth = token.end(), 1
                parts.append(raw[done:start])
            continue
        if mark[:1] in (b"{", b"["):
            depth += 1
        elif mark[:1] in (b"}", b"]"):
            depth -= 1
        if depth == 0 or (depth == 1 and mark == b","):
            parts.append(by)
            done, depth = token.start(), 0
    return b"".join((*parts, raw[done:]))


_BRACKETS = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?|[][{},]', re.DOTALL)


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except RecursionError:
        return False
    except msgspec.DecodeError:  # or with lone surrogates, escaped or not, as no one else minds them
        try:
            json.loads(raw.decode("utf-8", "surrogateescape"), strict=False)
        except (ValueError, RecursionError):
            return False
    return True


def _decoded(string: bytes) -> str:
    """The text that a JSON string stands for; lone surrogates and bytes that are not UTF-8 are let pass."""
    try:
        return msgspec.json.decode(string, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text: str = json.loads(string.decode("utf-8", "surrogateescape"), strict=False)
        return text


def _encoded(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()
