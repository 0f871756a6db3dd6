"""Short reviews with what a reader would say of them: the demo's traffic and its dataset."""

from __future__ import annotations

import itertools
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

import msgspec

POSITIVE, NEGATIVE = "positive", "negative"


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A review and the right answer to what it is, `positive` or `negative`. Reviews that say the same of
    different things have one `phrase`."""

    text: str
    label: str
    phrase: str


def reviews() -> list[Review]:
    """Every review, in one order for ever, as many of each label."""
    text = (resources.files("airboss.demo") / "phrases.toml").read_text(encoding="utf-8")
    found = [
        Review(text=f"{subject} {verdict}.", label=label, phrase=f"{name}-{label}-{number}")
        for name, domain in tomllib.loads(text)["sentiment"].items()
        for label in (POSITIVE, NEGATIVE)
        for number, verdict in enumerate(domain[label])
        for subject in domain["subjects"]
    ]
    random.Random(7).shuffle(found)  # noqa: S311 - the same order each time, not a secret
    return found


def balanced(found: Sequence[Review], size: int) -> list[Review]:
    """The first `size` reviews, as many of each label as can be, the labels in turn."""
    sides = [[each for each in found if each.label == label] for label in (POSITIVE, NEGATIVE)]
    turns: Iterator[Review] = itertools.chain.from_iterable(zip(*sides, strict=False))
    return list(itertools.islice(turns, size))


def dataset(found: Sequence[Review], sizes: Mapping[str, int]) -> str:
    """Reviews as a dataset's file, with so many in each part.

    A phrase stands in one part alone: else the holdout would repeat what could have been an example.
    """
    phrases = sorted({each.phrase for each in found})
    random.Random(11).shuffle(phrases)  # noqa: S311 - the same parts each time, not a secret
    whole, begun = sum(sizes.values()), 0.0
    lines = []
    for part, size in sizes.items():
        ended = begun + len(phrases) * size / whole
        own = set(phrases[round(begun) : round(ended)])
        begun = ended
        chosen = balanced([each for each in found if each.phrase in own], size)
        lines += [
            {"id": f"{part}-{number}", "input": each.text, "expected": each.label, "part": part}
            for number, each in enumerate(chosen)
        ]
    return "".join(f"{msgspec.json.encode(line).decode()}\n" for line in lines)


def right(answer: str, label: str) -> bool:
    """Whether an answer says the label, and not the other one, in its first words."""
    words = answer.lower().split()[:6]
    said = {each.strip(".,:;!?\"'*") for each in words} & {POSITIVE, NEGATIVE}
    return said == {label}
