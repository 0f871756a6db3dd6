"""Candidates drawn and varied."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import msgspec
import pytest

from airboss.domain.release import Example, Release
from airboss.evaluations.datasets import Input, Item
from airboss.releases.build import sealed
from airboss.tuning.candidates import Candidate, balanced, example_of, fits, pool_of
from airboss.tuning.proposers import COUNTS, Proposer, instructions
from tests.tuning.support import BASE, LABELS, made

TRAIN = made().part("train")


def proposer(base: Release = BASE, *, seed: int = 1, count: int = 30) -> Proposer:
    """A proposer over the training items."""
    train = TRAIN[:count]
    rng = random.Random(seed)
    return Proposer(base, pool=pool_of(train), train=train, forms=("system", "turns"), rng=rng)


def test_the_first_is_todays_release() -> None:
    """Then come instructions alone, then examples in every form, with as many of each answer as can be."""
    first = list(itertools.islice(proposer().first(), 40))
    assert first[0] == Candidate(instruction=BASE.prompt, form=BASE.form, origin="today's release")
    drawn = [candidate for candidate in first if candidate.examples]
    assert {candidate.form for candidate in drawn} == {"system", "turns"}
    assert {len(candidate.examples) for candidate in drawn} == set(COUNTS)
    for candidate in drawn:
        counts = Counter(example.output for example in candidate.examples)
        assert max(counts.values()) - min(counts.get(label, 0) for label in LABELS) <= 1
        assert len(set(candidate.examples)) == len(candidate.examples)
    assert len({candidate.examples for candidate in drawn}) == len(drawn)


def test_a_seed_gives_the_same_again() -> None:
    """And another seed others."""
    one, same, other = (list(itertools.islice(proposer(seed=seed).first(), 30)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_variations_change_one_thing() -> None:
    """Each differs from its parent, shows no example twice, and no more than the most."""
    made_by = proposer()
    parent = next(candidate for candidate in made_by.first() if len(candidate.examples) == 8)
    origins = set()
    for child in itertools.islice(made_by.varied([parent]), 200):
        assert (child.instruction, child.examples, child.form) != (
            parent.instruction,
            parent.examples,
            parent.form,
        )
        assert len(set(child.examples)) == len(child.examples) <= max(COUNTS)
        changed = [
            child.instruction != parent.instruction,
            child.examples != parent.examples,
            child.form != parent.form,
        ]
        assert sum(changed) == 1
        origins.add(child.origin)
    assert {"another order", "other examples", "one example fewer", "more examples"} <= origins


def test_variations_end_where_there_are_none() -> None:
    """Without examples, other forms or other instructions nothing can be varied."""
    rng = random.Random(1)
    bare = sealed(msgspec.structs.replace(BASE, prompt=None))
    alone = Proposer(bare, pool=(), train=(), forms=("turns",), rng=rng)
    assert list(alone.varied([Candidate(instruction=None)])) == []
    assert list(itertools.islice(alone.first(), 10)) == [
        Candidate(instruction=None, origin="today's release"),
        Candidate(instruction=None, origin="instruction 0 without examples"),
    ]


def test_instructions_name_few_short_answers() -> None:
    """Today's is the first; where answers are many or long none names them; with a variable all keep it."""
    named = instructions(BASE, TRAIN)
    assert named[0] == BASE.prompt
    assert sum("left, right, up" in (each or "") for each in named) == 2
    assert None in named
    long = [msgspec.structs.replace(item, expected="x" * 50) for item in TRAIN]
    assert instructions(BASE, long) == [BASE.prompt, None]
    with_variable = sealed(msgspec.structs.replace(BASE, prompt="Be {{ tone }}."))
    assert all("{{ tone }}" in (each or "") for each in instructions(with_variable, TRAIN))


def test_what_fits() -> None:
    """The variables are those of today's prompt, no more and no fewer."""
    base = sealed(msgspec.structs.replace(BASE, prompt="Be {{ tone }}."))
    assert fits("Now {{tone}}!", base)
    assert not fits("Now!", base)
    assert not fits("{{ tone }} {{ more }}", base)
    assert not fits("{{ tone }} {{ rest", base)
    assert not fits(None, base)
    assert fits(None, BASE)


@pytest.mark.parametrize(
    ("item", "example"),
    [
        ({"expected": "yes"}, Example("q", "yes")),
        ({"expected": ["no", "nope"]}, Example("q", "no")),
        ({"expected": {"a": 1}}, Example("q", '{"a":1}')),
        ({"expected": None}, None),
        ({"expected": []}, None),
        ({"expected": "x" * 5_000}, None),
        ({"expected": "y", "input": Input(variables={"a": "b"})}, None),
        (
            {
                "expected": "y",
                "input": Input(
                    messages=({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
                ),
            },
            None,
        ),
    ],
)
def test_what_can_be_an_example(item: dict[str, object], example: Example | None) -> None:
    """One message of a user with an answer that is known and not too long."""
    fields = {"id": "i", "input": Input(messages=({"role": "user", "content": "q"},))} | item
    assert example_of(msgspec.convert(fields, Item, from_attributes=True)) == example


def test_each_beginning_is_balanced() -> None:
    """The first so many items have the answers in even shares."""
    ordered = balanced(sorted(TRAIN, key=lambda item: str(item.expected)))
    assert sorted(item.id for item in ordered) == sorted(item.id for item in TRAIN)
    for end in range(3, len(ordered) + 1, 3):
        counts = Counter(item.expected for item in ordered[:end])
        assert len(counts) == 3
        assert len(set(counts.values())) == 1
