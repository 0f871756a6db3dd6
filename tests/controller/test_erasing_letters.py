"""What others said of a person's calls, and was put away: it is forgotten with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec

from airboss.controller.stray_feedback import WAIT
from airboss.domain.record import Redacted
from tests.controller.houses import THEIRS, USER, House, letters
from tests.store.samples import call_id
from tests.store.test_contract_scores import score
from tests.support.files import holding


def test_feedback_of_another_key_goes_with_whose_call_it_is_of(tmp_path: Path) -> None:
    """It names nobody and was never attached, so that no search of the log finds it; of others it stays."""
    house = House(tmp_path)
    for number, user in ((1, USER), (2, "bob")):
        house.opens(number, user)
        house.closes(number, b"an answer")
        said = score(number, number, True, by="another-key", comment="a word on it", user=None)
        house.worker.score(cast("Redacted", msgspec.json.encode(said)))
    house.mover.tick()
    house.clock.at += WAIT + timedelta(seconds=20)
    house.mover.tick()
    assert {each["why"] for each in letters(house)} == {"its record is another key's"}
    house.forgets()
    house.mover.tick()
    kept = [each["payload"] for each in letters(house)]
    assert [call_id(2) in each for each in kept if each] == [True]
    assert len(kept) == 2
    assert holding(house.root, *THEIRS) == []
    house.close()
