"""The arithmetic of a search, and what its frontier is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.tuning.board import Standing
from airboss.tuning.frontier import frontier
from airboss.tuning.search import halving_calls, stages


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, (8,)), (30, (8, 12, 30)), (100, (17, 40, 100)), (1_000, (167, 400, 1_000))]
)
def test_stages(count: int, sizes: tuple[int, ...]) -> None:
    """Few items, more items, all items; no stage repeats another."""
    assert stages(count) == sizes


def test_halving_calls() -> None:
    """The stages' widths times the items that each adds."""
    assert halving_calls(9, (17, 40, 100)) == 9 * 17 + 3 * 23 + 1 * 60
    assert halving_calls(1, (8,)) == 8
    assert halving_calls(0, (17, 40, 100)) == 0


def standing(name: str, score: float, tokens: float | None) -> Standing:
    """A candidate of that score and price."""
    return Standing(
        release=name, origin="", form="turns", instruction=None, examples=0,
        score=score, n=10, unscored=0, tokens_per_call=tokens,
    )  # fmt: skip


points = st.tuples(st.integers(0, 10).map(lambda n: n / 10), st.one_of(st.none(), st.integers(1, 9)))


@given(st.lists(points, max_size=12))
def test_nothing_beats_the_frontier(given_: list[tuple[float, int | None]]) -> None:
    """Whoever is not on it is beaten by one who is: in score at no higher price, or in price at no lower
    score. Nobody on it is."""
    all_of = [standing(str(number), *point) for number, point in enumerate(given_)]
    found = frontier(all_of)
    known = [each for each in all_of if each.tokens_per_call is not None]
    assert bool(found) == bool(known)

    def beats(one: Standing, other: Standing) -> bool:
        assert one.tokens_per_call is not None
        assert other.tokens_per_call is not None
        no_worse = one.score >= other.score and one.tokens_per_call <= other.tokens_per_call
        return no_worse and one is not other

    for each in known:
        if each in found:
            assert not any(beats(one, each) and not beats(each, one) for one in known)
        else:
            assert any(beats(one, each) for one in found)
