"""Tests of controller.rollouts: a promotion taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.config import parse_config
from airboss.domain.errors import ConfigError, NotFound, WrongCall
from airboss.rollouts.stages import Order
from tests.controller.rolling import CONFIG, House, stable_prompt


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One whose second release was promoted."""
    house = House(tmp_path / "data")
    house.apply("Old.")
    promote(house, "New.")
    yield house
    house.store.close()
    house.ledger.close()


def promote(house: House, prompt: str) -> None:
    """Apply a configuration with that prompt, and promote it on evidence."""
    house.apply(prompt)
    house.rollouts.start("support", None, by="ann")
    house.serve(400, canary_errors=False)
    house.rollouts.tick()
    assert stable_prompt(house) == prompt


def text(house: House) -> str:
    """The configuration in force."""
    found = house.ledger.config()
    assert found is not None
    return found


def test_what_was_stable_before_serves_again_and_the_configuration_says_so(house: House) -> None:
    """In place of what was undone, so that a difference from the file is the prompt alone."""
    assert house.rollouts.before("support").prompt == "Old."
    standing = house.rollouts.undo("support")
    assert stable_prompt(house) == "Old."
    assert standing.promoted[-1].why == "undo"
    said = parse_config(text(house), source="")
    assert said.deployments["support"].release == "support"
    assert said.releases["support"].prompt == "Old."
    assert sorted(said.releases) == ["spare", "support"]
    house.again()
    house.rollouts.tick()
    assert stable_prompt(house) == "Old."


def test_a_file_that_still_says_what_was_undone_serves_it_to_nobody(house: House) -> None:
    """It is a candidate, which a rollout may promote again."""
    house.rollouts.undo("support")
    house.apply("New.")
    assert stable_prompt(house) == "Old."
    promote(house, "New.")


def test_undoing_twice_goes_back_twice(house: House) -> None:
    """And there it ends, with a sentence that says what to do."""
    promote(house, "Newest.")
    house.rollouts.undo("support")
    assert stable_prompt(house) == "New."
    house.rollouts.undo("support")
    assert stable_prompt(house) == "Old."
    with pytest.raises(WrongCall, match="nothing to undo; `airboss rollout start`"):
        house.rollouts.undo("support")
    assert stable_prompt(house) == "Old."


def test_a_release_that_others_have_too_is_left_to_them(house: House) -> None:
    """The one that serves again gets a name of its own then."""
    shared = '[deployments.other]\nrelease = "support"\n'
    house.rollouts.apply(text(house) + shared, "airboss.toml")
    house.rollouts.undo("support")
    said = parse_config(text(house), source="")
    assert said.deployments["support"].release == "support-2"
    assert said.releases["support-2"].prompt == "Old."
    assert said.releases["support"].prompt == "New."
    stable = {each.name: each.stable.prompt for each in house.plan().deployments}
    assert stable == {"support": "Old.", "other": "New."}


def test_while_a_rollout_runs_that_is_ended_first(house: House) -> None:
    """Nothing is undone beside it."""
    house.apply("Newest.")
    house.rollouts.start("support", None, by="ann")
    with pytest.raises(WrongCall, match="`airboss rollout abort support` ends it"):
        house.rollouts.undo("support")
    assert stable_prompt(house) == "New."


def test_what_can_no_more_be_said_is_told(house: House) -> None:
    """Of a model that is gone the name is told, and nothing changes. No other deployment is taken."""
    gone = CONFIG.replace("PROMPT", "New.").replace("GATE", "").replace("MARGIN", "0.4")
    house.rollouts.apply(gone.replace('model = "x"', 'model = "y"'), "airboss.toml")
    house.rollouts.start("support", None, by="ann")
    house.serve(400, canary_errors=False)
    house.rollouts.tick()
    with pytest.raises(ConfigError, match="is of model 'x', which is not in the configuration"):
        house.rollouts.undo("support")
    assert stable_prompt(house) == "New."
    with pytest.raises(NotFound, match="no deployment 'sales'"):
        house.rollouts.undo("sales")


def test_what_was_undone_is_not_to_be_undone_again(house: House) -> None:
    """Who wants to abort hears of the promotion as long as it serves."""
    abort = Order(at=house.clock.at, action="abort", by="ann")
    with pytest.raises(WrongCall, match="`airboss rollout undo support` takes that back"):
        house.rollouts.order("support", abort)
    house.rollouts.undo("support")
    with pytest.raises(WrongCall, match="is running; `airboss rollout start support` begins one"):
        house.rollouts.order("support", abort)
