"""What becomes of a dataset when items are added: nothing moves, nothing is there twice, nobody is torn
apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airboss.domain.errors import WrongCall
from airboss.evaluations.adding import UNCORRECTED, Joined, join
from airboss.evaluations.datasets import Item, Shares, dataset, input_digest, part_of
from airboss.store.eval_rows import ItemRow
from tests.evaluations.support import item

SHARES = Shares(seed=3)


def rows(items: Iterable[Item], shares: Shares = SHARES) -> list[ItemRow]:
    """As the store has them."""
    return [
        ItemRow(
            id=each.id,
            part=part_of(each, shares),
            subject=input_digest(each.input),
            user=each.user,
            content=msgspec.json.encode(each).decode(),
        )
        for each in items
    ]


def joined(before: Iterable[Item], *more: Item, **given: Any) -> Joined:
    """`before` with `more`."""
    return join("n", rows(before), more, shares=SHARES, onto="0", **given)


def recorded(id: str, text: str, **given: Any) -> Item:
    """An item of a recorded call."""
    return item(id, text, record=id, **given)


people = st.sampled_from(["ann", "bob", "cid", None])
parts = st.sampled_from(["train", "validation", "holdout", None])


@given(
    st.lists(st.tuples(people, st.integers(0, 30)), max_size=12),
    st.lists(st.tuples(people, st.integers(0, 60)), max_size=12),
    st.integers(0, 9),
)
def test_nothing_moves_and_nobody_is_torn_apart(
    first: list[tuple[str | None, int]], then: list[tuple[str | None, int]], seed: int
) -> None:
    """Of calls by a few people: what was there is where it was, each person is in one part, each question is
    there once, and adding all of it again adds nothing."""
    shares = Shares(seed=seed)

    def made(calls: list[tuple[str | None, int]], prefix: str) -> dict[str, Item]:
        found = (recorded(f"{prefix}{n}", f"{n}?", user=user, group=user) for user, n in calls)
        return {each.id: each for each in found}

    before, more = made(first, "a"), made(then, "b")
    found = (
        join("n", rows(before.values(), shares), more.values(), shares=shares, onto=None)
        if (before or more)
        else None
    )
    if found is None:
        return
    after = {each.id: each for each in found.dataset.items}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + len(found.items)
    assert found.there + len(found.items) == len(more)
    stands = defaultdict(set)
    for each in after.values():
        if each.user is not None:
            stands[each.user].add(part_of(each, shares))
    assert all(len(each) == 1 for each in stands.values())
    again = join("n", rows(after.values(), shares), more.values(), shares=shares, onto=None)
    assert (again.items, again.dataset.digest) == ((), found.dataset.digest)


def test_the_digest_is_that_of_the_whole() -> None:
    """As if the dataset had been made at once."""
    one, two = item("a", "1"), item("b", "2")
    assert joined([one], two).dataset.digest == dataset("n", [one, two], shares=SHARES).digest


def test_the_same_is_not_added_twice() -> None:
    """By its id, and, where nobody chose that, by its question: of a call, and of a line without an id. Who
    chooses ids may ask the same twice."""
    there = [recorded("r1", "Hi", expected="Hello"), item("q1", "Bye", expected=1)]
    unnamed = item(input_digest(item(text="Bye").input)[:16], "Bye")
    same = [recorded("r1", "Hi"), recorded("r2", "Hi", expected="Hello"), unnamed, item("q1", "Bye")]
    found = joined(there, *same, item("q2", "Bye"), recorded("r3", "New"), recorded("r4", "New"))
    assert ([each.id for each in found.items], found.there) == (["q2", "r3"], 5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (item("q1", "Other"), "asks something else"),
        (item("q1", "Bye", expected=2), "expects something else"),
        (item("q1", "Bye", expected=True), "expects something else"),
        (item("q0", "Hm", expected="no"), "expects nothing"),
        (recorded("r9", "Bye", expected="no"), "expects something else"),
    ],
)
def test_what_differs_from_what_is_there_is_refused(more: Item, said: str) -> None:
    """Adding changes nothing; the item is named."""
    with pytest.raises(WrongCall, match=f"item 'q.' is there already and {said}"):
        joined([item("q1", "Bye", expected=1), item("q0", "Hm")], more)


def test_an_added_item_goes_where_its_person_is() -> None:
    """Also where that is not the part that the hash would draw, as of data that came divided."""
    drawn = part_of(item(user="ann", group="ann"), SHARES)
    other = "train" if drawn != "train" else "holdout"
    for first in (
        item("a", "1", user="ann", group="ann", part=other),
        item("a", "1", user="ann", part=other),  # not grouped, as with --group-by none
    ):
        found = joined([first], recorded("b", "2", user="ann", group="ann"), recorded("c", "3", user="bob"))
        assert (found.items[0].part, found.items[1].part) == (other, None)
        with pytest.raises(WrongCall, match=f"'ann' is in {other}, and item 'b' is to be in {drawn}"):
            joined([first], recorded("b", "2", user="ann", group="ann", part=drawn))
    found = joined(
        [], item("a", "1", user="ann", group="ann", part=other), item("b", "2", user="ann", group="ann")
    )
    assert [each.part for each in found.items] == [other, other]


def test_a_conversation_that_is_kept_together_stays_so() -> None:
    """Where a dataset is divided by session, a call of one that is there joins it; any other its user."""
    first = recorded("a", "1", user="ann", group="s1")
    more = [recorded(id, f"{id}?", user="ann", group="ann") for id in ("b", "c", "d")]
    found = joined([first], *more, sessions={"b": "s1", "c": "s2"})
    assert [each.group for each in found.items] == ["s1", "ann", "ann"]


def test_a_dataset_has_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with what is added."""
    monkeypatch.setattr("airboss.evaluations.datasets.ITEMS_MAX", 2)
    with pytest.raises(WrongCall, match="has 3 items; give 1 to 2"):
        joined([item("a", "1"), item("b", "2")], item("c", "3"))


def test_what_is_there_is_left_out_where_it_was_put_right_since() -> None:
    """And told apart from what is there as it is to be. Nobody asked that it expect that, so nothing is
    refused, but what asks something else is."""
    before = [recorded("1", "a", expected="old"), recorded("2", "b", expected="so")]
    more = [recorded("1", "a", expected="right"), recorded("2", "b", expected="so"), recorded("3", "c")]
    found = joined(before, *more, corrected={"1", "2"})
    assert ([each.id for each in found.items], found.there, found.left_out) == (["3"], 1, {UNCORRECTED: 1})
    with pytest.raises(WrongCall, match="asks something else"):
        joined(before, recorded("1", "z", expected="right"), corrected={"1"})


def test_what_nobody_said_anything_of_takes_what_was_written_since() -> None:
    """In its part, with its tags and group, and with whose text it is; the digest is that of the whole. What
    was written of another call that asks the same is left out, as it would not go with that one's person."""
    first = recorded("1", "a", group="g", part="train", tags=("t",))
    more = [recorded("1", "a", expected="right", user="ann"), recorded("2", "a", expected="other")]
    found = joined([first, item("q", "b")], *more, corrected={"1", "2"}, unsaid={"1"})
    right = replace(first, expected="right", user="ann")
    assert (found.items, found.gone, found.there, found.left_out) == ((right,), ("1",), 0, {UNCORRECTED: 1})
    assert found.dataset.digest == dataset("n", [right, item("q", "b")], shares=SHARES).digest
