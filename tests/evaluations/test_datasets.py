"""Datasets: their digest, how they are divided, and the lock on the holdout."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import (
    Dataset,
    HoldoutLocked,
    Input,
    Item,
    Shares,
    dataset,
    input_digest,
    part_of,
    question,
)
from tests.evaluations.support import item

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


def test_the_digest_is_golden() -> None:
    """A dataset has the same digest in every version: runs and reports refer to it."""
    full = Item(
        id="full",
        input=Input(
            messages=({"role": "user", "content": "Wie heißt du?"},),
            variables={"tone": "dry"},
            params={"tools": [{"type": "function"}]},
        ),
        expected={"intent": "name", "sure": 0.5},
        tags=("de", "short"),
        group="g",
        part="train",
    )
    made = dataset("golden", [item("plain"), full], shares=Shares(seed=7))
    assert made.digest == "4082ee2021ee655f25c96c0e66bac565a79a80893df2c9304e71656b16e164b5"
    assert (
        dataset("least", [item("plain")]).digest
        == "529a71dc30ffe1b189c7506e6a0b54be80060ce867f33ed9dadeaaa3a7454518"
    )
    assert input_digest(item().input) == "51efcd270397b6a384c9234ac13e007d49df2a14b3776dc0ec5cc699769bc499"


def test_the_digest_covers_what_shapes_an_evaluation() -> None:
    """Every field of an item and of the shares changes it; the name, the order, and where an item came from
    do not."""
    first, second = item("a", "?", expected="x"), item("b")
    base = dataset("n", [first, second])
    alike = [
        dataset("other", [second, first]),
        dataset("n", [msgspec.structs.replace(first, record="r", user="u"), second]),
    ]
    assert {each.digest for each in alike} == {base.digest}
    changes: list[dict[str, object]] = [
        {"id": "c"},
        {"input": Input(variables={"a": "b"})},
        {"input": msgspec.structs.replace(first.input, params={"tools": []})},
        {"expected": "y"},
        {"expected": None},
        {"expected": False},
        {"tags": ("t",)},
        {"group": "g"},
        {"part": "train"},
    ]
    digests = [dataset("n", [msgspec.structs.replace(first, **change), second]).digest for change in changes]
    digests += [dataset("n", [first, second], shares=Shares(seed=1)).digest]
    digests += [dataset("n", [first, second], shares=Shares(validation=0.2)).digest]
    assert len({base.digest, *digests}) == 1 + len(digests)


@given(st.sets(IDS, min_size=1, max_size=20), st.sets(IDS, max_size=20), st.integers(0, 2**32))
def test_adding_items_moves_no_other(ids: set[str], more: set[str], seed: int) -> None:
    """An item's part depends on its own id and the seed alone."""
    shares = Shares(seed=seed)
    small = dataset("n", map(item, ids), shares=shares)
    large = dataset("n", map(item, ids | more), shares=shares)
    assert sum(small.sizes().values()) == len(ids)
    for part in ("train", "validation"):
        before = {each.id for each in small.part(part)}
        after = {each.id for each in large.part(part)}
        assert before == after & ids


@given(
    st.lists(st.tuples(IDS, st.sampled_from("abc")), min_size=1, max_size=30, unique_by=lambda each: each[0])
)
def test_groups_stay_together(given: list[tuple[str, str]]) -> None:
    """All items of a group are in one part."""
    shares = Shares()
    parts: dict[str, set[str]] = {}
    for id, group in given:
        parts.setdefault(group, set()).add(part_of(item(id, group=group), shares))
    assert all(len(found) == 1 for found in parts.values())


def test_parts_have_about_their_shares() -> None:
    """Two thousand items are divided as asked, within five standard deviations; another seed divides anew."""
    items = [item(f"q{number}") for number in range(2_000)]
    shares = Shares(train=0.5, validation=0.25)
    counts = Counter(part_of(each, shares) for each in items)
    assert abs(counts["train"] - 1_000) < 112
    assert abs(counts["validation"] - 500) < 97
    other = Shares(seed=1, train=0.5, validation=0.25)
    assert sum(part_of(each, shares) != part_of(each, other) for each in items) > 1_000


def test_an_item_can_be_pinned() -> None:
    """Data that comes divided keeps its parts."""
    for part in ("train", "validation", "holdout"):
        assert part_of(item(part=part), Shares()) == part


def test_the_holdout_is_locked() -> None:
    """A dataset gives its other parts, and says how the holdout is read."""
    made = dataset("n", [item("a", part="train"), item("b", part="holdout")])
    assert [each.id for each in made.part("train")] == ["a"]
    with pytest.raises(HoldoutLocked, match="open_holdout"):
        made.part("holdout")
    assert made.sizes() == {"train": 1, "validation": 0, "holdout": 1}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "0 items"),
        ([item("a"), item("a")], "'a' twice"),
        ([item("")], "id of 0 characters"),
        ([item("a" * 201)], "id of 201 characters"),
        ([item("a", group="g", part="train"), item("b", group="g", part="holdout")], "group 'g'"),
    ],
)
def test_what_is_no_dataset(items: list[Item], said: str) -> None:
    """Is refused, naming what is wrong."""
    with pytest.raises(WrongCall, match=said):
        dataset("n", items)
    with pytest.raises(WrongCall, match="name has"):
        dataset("", [item()])


def test_shares_are_shares() -> None:
    """Shares that are none are refused."""
    for train, validation in ((-0.1, 0.3), (0.8, 0.3)):
        with pytest.raises(ValueError, match="at least 0"):
            Shares(train=train, validation=validation)


def test_a_dataset_survives_json() -> None:
    """Items read back from JSON are the same, and so is the digest."""
    made = dataset("n", [item("a", expected={"x": [1, 1.5, None]}, tags=("t",))])
    again = msgspec.json.decode(msgspec.json.encode(made), type=Dataset)
    assert dataset(again.name, again.items, shares=again.shares).digest == made.digest


def test_the_question_is_what_was_asked_last() -> None:
    """People and judges see the last user message, in any form, or the variables."""
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    turns = (
        {"role": "user", "content": "before"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "so"},
    )
    assert question(Item(id="x", input=Input(messages=turns))) == "one\ntwo"
    assert question(Item(id="x", input=Input(variables={"b": "2", "a": "1"}))) == "a: 1\nb: 2"
