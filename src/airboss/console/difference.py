"""What tells one release from another, to be read: long texts line by line, the rest side by side; and what
tells an answer from what would have been right, word by word. Pure."""

from __future__ import annotations

import difflib
import json
import re
from decimal import Decimal
from typing import Any, Literal

import msgspec

from airboss.console.changes import Change
from airboss.store.wording import many

LINES_MAX = 400
VALUE_MAX = 2_000
COMPARED_MAX = 600
"""Lines of a text that are matched with another's: of many that are alike, matching would take minutes."""
CONTEXT = 2
"""Lines shown around a change."""
WORDS_MAX = 1_000
"""Words of two texts that are matched, between what they begin and end with alike; as of lines."""
SAME_LEAST = 0.3
"""Of two texts together, in characters: with less in common they are easier to read one after the other."""
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"(?:[{_ALONE}]|[^\s{_ALONE}]+)\s*|\s+")
"""A word or a sign of a script that has no blanks between words, with the blanks after it."""

Mark = Literal["same", "added", "removed", "gap"]
"""How a line stands; `gap` is where lines that are the same were left out."""


class Line(msgspec.Struct, frozen=True):
    """One line of a text that changed."""

    mark: Mark
    text: str


class Piece(msgspec.Struct, frozen=True):
    """A stretch of two texts beside each other: in both, or in one alone."""

    mark: Literal["same", "added", "removed"]
    text: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. `lines` is set where it is a text of more than a line; `before` and `after` are else."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str | None = None
    after: str | None = None
    lines: tuple[Line, ...] = ()


def shown(changes: tuple[Change, ...]) -> tuple[Shown, ...]:
    """Every change."""
    return tuple(map(one, changes))


def one(change: Change) -> Shown:
    """One change."""
    before, after = written(change.before), written(change.after)
    long = any("\n" in (text or "") or len(text or "") > 60 for text in (before, after))
    if long:
        lines = tuple(compared(before or "", after or ""))
        return Shown(path=change.path, kind=change.kind, lines=lines)
    return Shown(path=change.path, kind=change.kind, before=before, after=after)


def written(value: Any) -> str | None:
    """A value as text; of lists and tables JSON, an entry a line."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | tuple):  # as JSON has it, or a release
        return "\n".join(json.dumps(each, ensure_ascii=False, default=float) for each in value)
    return json.dumps(value, ensure_ascii=False, default=float)


def compared(before: str, after: str) -> list[Line]:
    """Both texts line by line, with a little of what is the same around what is not."""
    old, new = before.splitlines(), after.splitlines()
    found: list[Line] = []
    if max(len(old), len(new)) > COMPARED_MAX:
        pairs = enumerate(zip(old, new, strict=False))
        same = next((n for n, (a, b) in pairs if a != b), min(len(old), len(new)))
        found += [Line("gap", alike(same))] if same else []
        old, new = old[same:], new[same:]
    more = max(len(old), len(new)) > COMPARED_MAX
    old, new = old[:COMPARED_MAX], new[:COMPARED_MAX]
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            found += around(old[a0:a1], first=not found, last=a1 == len(old) and b1 == len(new))
            continue
        found += [Line("removed", text[:VALUE_MAX]) for text in old[a0:a1]]
        found += [Line("added", text[:VALUE_MAX]) for text in new[b0:b1]]
    return found[:LINES_MAX] + ([Line("gap", "…")] if more or len(found) > LINES_MAX else [])


def around(same: list[str], *, first: bool, last: bool) -> list[Line]:
    """Lines that are the same, but for those far from a change."""
    head = 0 if first else CONTEXT
    tail = 0 if last else CONTEXT
    if len(same) <= head + tail + 1:
        return [Line("same", text[:VALUE_MAX]) for text in same]
    middle = len(same) - head - tail
    return [
        *(Line("same", text[:VALUE_MAX]) for text in same[:head]),
        Line("gap", alike(middle)),
        *(Line("same", text[:VALUE_MAX]) for text in same[len(same) - tail :] if tail),
    ]


def worded(before: str, after: str) -> list[Piece]:
    """Both texts word by word; nothing where they have too little in common for that."""
    old, new = WORD.findall(before), WORD.findall(after)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    old_middle, new_middle = old[head : len(old) - tail], new[head : len(new) - tail]
    found = [Piece("same", "".join(old[:head]))]
    if max(len(old_middle), len(new_middle)) > WORDS_MAX:
        found += [Piece("removed", "".join(old_middle)), Piece("added", "".join(new_middle))]
    else:
        matched = difflib.SequenceMatcher(a=old_middle, b=new_middle, autojunk=False)
        for tag, a0, a1, b0, b1 in matched.get_opcodes():
            if tag == "equal":
                found.append(Piece("same", "".join(old_middle[a0:a1])))
                continue
            found += [
                Piece("removed", "".join(old_middle[a0:a1])),
                Piece("added", "".join(new_middle[b0:b1])),
            ]
    found.append(Piece("same", "".join(old[len(old) - tail :])))
    same = sum(len(each.text) for each in found if each.mark == "same")
    if 2 * same < SAME_LEAST * (len(before) + len(after)):
        return []
    return [each for each in found if each.text]


def alike(lines: int) -> str:
    """What stands in place of so many lines."""
    return f"{many(lines, 'line')} {'is' if lines == 1 else 'are'} the same"
