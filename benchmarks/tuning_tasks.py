"""Two small classification tasks, made from phrases written for this purpose: what tuning is measured on.

A sentence joins a subject and a verdict, or an opening, a request and an ending. The part that carries the
answer (the verdict, the request) belongs to one part of the dataset alone, so that no holdout item repeats
what could have been an example.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""An item as a line of JSON: `id`, `input`, `expected`, `part`."""

SIZES: Mapping[str, int] = {"train": 120, "validation": 100, "holdout": 300}
SEED = 20261124

PHRASES: Mapping[str, Any] = tomllib.loads(
    Path(__file__).with_name("tuning_phrases.toml").read_text(encoding="utf-8")
)
SHARES: Mapping[str, tuple[float, float]] = {
    "train": (0.0, 1 / 3),
    "validation": (1 / 3, 7 / 12),
    "holdout": (7 / 12, 1.0),
}
"""Which of a list's phrases each part has."""


def of_part(phrases: Sequence[str], part: str) -> Sequence[str]:
    """A part's own phrases of a list."""
    low, high = SHARES[part]
    return phrases[round(low * len(phrases)) : round(high * len(phrases))]


def sentiment(part: str) -> Iterator[tuple[str, str]]:
    """Every sentence of a part with its answer."""
    for label in ("positive", "negative"):
        for domain in PHRASES["sentiment"].values():
            for verdict in of_part(domain[label], part):
                yield from ((f"{subject} {verdict}.", label) for subject in domain["subjects"])


def intent(part: str) -> Iterator[tuple[str, str]]:
    """Every message of a part with its answer."""
    phrases = PHRASES["intent"]
    for label, requests in phrases["requests"].items():
        for request in of_part(requests, part):
            for opening in phrases["openings"]:
                for ending in phrases["endings"]:
                    said = f"{opening}{request}{ending}"
                    yield f"{said[0].upper()}{said[1:]}.", label


TASKS = {"sentiment": sentiment, "intent": intent}


def rows(task: str) -> list[Row]:
    """The items of a task: as many of each part as SIZES says, as many of each answer as can be, the same at
    every call."""
    rng = random.Random(f"{SEED} {task}")
    found: list[Row] = []
    for part, size in SIZES.items():
        chosen = balanced(TASKS[task](part), size, rng)
        found += [
            {
                "id": f"{part}-{number:03}",
                "input": text,
                "expected": label,
                "part": part,
            }
            for number, (text, label) in enumerate(chosen)
        ]
    return found


def balanced(pairs: Iterable[tuple[str, str]], size: int, rng: random.Random) -> Sequence[tuple[str, str]]:
    """`size` of the pairs, drawn by answer in turn, in an order that says nothing."""
    by_label: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        by_label.setdefault(pair[1], []).append(pair)
    for held in by_label.values():
        rng.shuffle(held)
    labels = sorted(by_label)
    chosen = [by_label[labels[at % len(labels)]][at // len(labels)] for at in range(size)]
    rng.shuffle(chosen)
    return chosen


def labels(task: str) -> list[str]:
    """The answers that there are."""
    return sorted({label for _, label in TASKS[task]("train")})
