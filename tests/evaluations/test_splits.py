"""What is said of a dataset whose parts are too small for what was asked for."""

from __future__ import annotations

import pytest

from airboss.evaluations.datasets import Input, Item, Part, Shares, dataset, part_of
from airboss.evaluations.splits import Drawn, Uneven, because, said, uneven

ASKED = Input(messages=({"role": "user", "content": "hi"},))
SHARES = Shares(train=0.6, validation=0.2)


def found(*items: Item, shares: Shares = SHARES) -> tuple[Uneven, ...]:
    """What is said of these as a dataset."""
    made = dataset("golden", items, shares=shares)
    drawn = (
        (part_of(item, shares), Drawn(id=item.id, group=item.group, part=item.part, user=item.user))
        for item in made.items
    )
    return uneven(drawn, shares)


def of(*users: str | None, pinned: Part | None = None, user: bool = True) -> list[Item]:
    """An item of each of these, grouped by them."""
    return [
        Item(id=f"{at}-{name}", input=ASKED, group=name, user=name if user else None, part=pinned)
        for at, name in enumerate(users)
    ]


def test_a_single_user_leaves_parts_empty() -> None:
    """All parts are told, with the numbers seen, what was asked for and what helps."""
    (train, validation, holdout) = found(*of(*["ann"] * 6))
    sizes = {each.part: each.items for each in (train, validation, holdout)}
    assert sum(sizes.values()) == 6
    empty = next(each for each in (train, validation) if not each.items)
    assert empty.words.startswith(f"{empty.part}: 0 items, asked for {100 * empty.share:g}%; take calls of ")
    full = next(each for each in (train, validation, holdout) if each.items)
    assert full.words.startswith(f"{full.part}: 6 items of 1 user, asked for ")
    assert "`--group-by none`" in full.words
    assert (holdout.part, round(holdout.share, 9)) == ("holdout", 0.2)
    assert said([train, validation], "validation") == (validation.words,)
    assert because([train, validation], "train") == f"; {train.words}"
    refused = because([train, validation], "train", "validation")
    assert (refused.count("asked for"), refused.count("--group-by none")) == (2, 1)
    assert because([train], "holdout") == ""


@pytest.mark.parametrize("grouped", [True, False])
def test_an_even_split_is_silent(*, grouped: bool) -> None:
    """Many users, or many items of nobody's."""
    assert found(*of(*(f"u{at}" if grouped else None for at in range(200)))) == ()


def test_a_user_with_nearly_all_leaves_too_little() -> None:
    """Though there are users enough, as that one's items are all in one part."""
    lot = "heavy"
    into = part_of(of(lot)[0], SHARES)
    told = found(*of(*[lot] * 500, *(f"u{at}" for at in range(60))))
    assert {each.part for each in told} == {"train", "validation", "holdout"} - {into}
    assert all(1 < each.units < 60 for each in told)


def test_what_helps_goes_by_what_is_drawn_as_one() -> None:
    """More items where nothing is grouped; a group that is no user is named as one."""
    assert all(each.words.endswith("; add more items") for each in found(*of(None, None)))
    assert any("2 items of 1 group" in each.words for each in found(*of("s", "s", user=False)))


def test_what_nobody_drew_is_silent() -> None:
    """All in one part, pinned, or beside so many that are pinned elsewhere."""
    assert found(*of("ann"), shares=Shares(train=0, validation=1)) == ()
    assert found(*of(*["ann"] * 3, pinned="train")) == ()
    drawn = of(*(f"u{at}" for at in range(100)))
    more = [Item(id=f"more{at}", input=ASKED, part="train") for at in range(2_000)]
    assert found(*drawn, *more) == ()
    assert {each.part for each in found(*of("x"), *more)} == {"validation", "holdout"}


@pytest.mark.parametrize(("train", "validation"), [(0.7, 0.3), (0.9, 0.1), (0.6, 0.4)])
def test_a_part_without_a_share_is_silent(train: float, validation: float) -> None:
    """Whatever floats leave of it."""
    shares = Shares(train=train, validation=validation)
    assert {each.part for each in found(*of("ann"), shares=shares)} == {"train", "validation"}
