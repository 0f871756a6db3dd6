"""Tests of releases.standing: what becomes of a deployment when a configuration wants a release."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airboss.domain.plan import PromotionWhy, Standing
from airboss.releases.standing import PROMOTIONS_MAX, Settled, promoted, settle, stable_before, undone

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64


def wish(before: Standing | None, wanted: str, *, careful: bool = True) -> Settled:
    """The deployment under test, once its configuration wants a release."""
    return settle(before, deployment="support", wanted=wanted, careful=careful, now=NOW)


def first() -> Standing:
    """A deployment with one release."""
    return wish(None, OLD).standing


def test_the_first_release_serves_at_once() -> None:
    """There is nothing to compare it with."""
    settled = wish(None, OLD)
    assert settled.outcome == "first"
    assert settled.standing.stable == OLD
    assert [each.release for each in settled.standing.promoted] == [OLD]


def test_a_changed_release_of_a_careful_deployment_is_a_candidate() -> None:
    """It is wanted, and stable stays."""
    settled = wish(first(), NEW)
    assert settled.outcome == "candidate"
    assert (settled.standing.wanted, settled.standing.stable) == (NEW, OLD)
    assert settled.supersedes


def test_a_changed_release_without_a_rollout_serves_at_once() -> None:
    """Who has no `rollout` has asked for none."""
    settled = wish(first(), NEW, careful=False)
    assert settled.outcome == "applied"
    assert settled.standing.stable == NEW


def test_applying_the_same_again_changes_nothing() -> None:
    """Neither for stable nor for a candidate, which stays one."""
    assert wish(first(), OLD) == Settled(standing=first(), outcome="same", supersedes=False)
    candidate = wish(first(), NEW).standing
    again = wish(candidate, NEW)
    assert again.standing == candidate
    assert not again.supersedes


def test_what_was_promoted_before_is_taken_back_at_once() -> None:
    """A rollback needs no canary: it is known."""
    now_new = promoted(wish(first(), NEW).standing, NEW, why="rollout", now=NOW)
    settled = wish(now_new, OLD)
    assert settled.outcome == "rollback"
    assert settled.standing.stable == OLD
    assert [each.why for each in settled.standing.promoted] == ["first", "rollout", "rollback"]


def test_wanting_stable_again_ends_what_was_being_rolled_out() -> None:
    """The operator has taken the candidate out of the file."""
    settled = wish(wish(first(), NEW).standing, OLD)
    assert settled.outcome == "same"
    assert settled.supersedes


def test_another_candidate_supersedes_the_first() -> None:
    """Two changes are not compared with each other."""
    settled = wish(wish(first(), NEW).standing, THIRD)
    assert settled.outcome == "candidate"
    assert settled.supersedes


def test_a_candidate_serves_once_the_rollout_is_taken_out_of_the_configuration() -> None:
    """Without `rollout` what is wanted is what serves."""
    settled = wish(wish(first(), NEW).standing, NEW, careful=False)
    assert settled.outcome == "applied"
    assert settled.standing.stable == NEW


def test_the_history_is_bounded() -> None:
    """The oldest promotions are forgotten."""
    standing = first()
    for number in range(PROMOTIONS_MAX + 5):
        standing = promoted(standing, f"{number:064x}", why="applied", now=NOW)
    assert len(standing.promoted) == PROMOTIONS_MAX
    assert all(each.release != OLD for each in standing.promoted)


def story(*told: tuple[str, PromotionWhy]) -> Standing:
    """A deployment in which these became stable, one after the other."""
    standing = Standing(deployment="support", wanted=told[0][0], stable=told[0][0])
    for release, why in told:
        standing = promoted(standing, release, why=why, now=NOW)
    return standing


def test_what_was_undone_is_a_candidate_like_any_other() -> None:
    """A file that still says it serves it to nobody; once it is promoted again it is known again."""
    standing = story((OLD, "first"), (NEW, "rollout"), (OLD, "undo"))
    assert undone(standing) == {NEW}
    settled = wish(standing, NEW)
    assert settled.outcome == "candidate"
    assert settled.standing.stable == OLD
    again = promoted(settled.standing, NEW, why="rollout", now=NOW)
    assert undone(again) == frozenset()
    assert wish(wish(again, OLD).standing, NEW).outcome == "rollback"
    assert wish(standing, NEW, careful=False).outcome == "applied"


@pytest.mark.parametrize(
    ("told", "before"),
    [
        (((OLD, "first"),), None),
        (((OLD, "first"), (NEW, "rollout")), OLD),
        (((OLD, "first"), (NEW, "rollout"), (OLD, "undo")), None),
        (((OLD, "first"), (NEW, "rollout"), (THIRD, "person")), NEW),
        (((OLD, "first"), (NEW, "rollout"), (THIRD, "person"), (NEW, "undo")), OLD),
        (((OLD, "first"), (NEW, "rollout"), (OLD, "rollback")), None),
        (((OLD, "first"), (NEW, "rollout"), (OLD, "rollout")), NEW),
        (((OLD, "first"), (NEW, "engine")), None),
        (((OLD, "first"), (NEW, "applied"), (THIRD, "engine")), OLD),
    ],
)
def test_what_was_stable_before(told: tuple[tuple[str, PromotionWhy], ...], before: str | None) -> None:
    """To undo twice goes back twice, never to what was taken back."""
    assert stable_before(story(*told)) == before
