"""What people hear who type a command that is called otherwise here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airboss.cli.verbs import VERBS
from airboss.cli.wording import ELSEWHERE
from tests.support.airboss import run_airboss

EVERY = {name for names in VERBS.values() for name in names}


@pytest.mark.parametrize("typed", sorted(ELSEWHERE))
def test_words_of_other_programs_lead_to_verbs(typed: str) -> None:
    """None is a verb, and what is told of are verbs."""
    assert typed not in EVERY
    told = re.findall(r"`airboss ([a-z]+)", ELSEWHERE[typed])
    assert set(told) <= EVERY


def test_who_wants_to_stop_it_is_not_told_to_start_a_store(tmp_path: Path) -> None:
    """A word like another verb is not taken for it where it means something; a slip of the finger is."""
    stop, slip = run_airboss("stop", cwd=tmp_path), run_airboss("statsu", "--json", cwd=tmp_path)
    assert (stop.returncode, "SIGTERM" in stop.stderr, "store" in stop.stderr) == (2, True, False), (
        stop.stderr
    )
    assert (slip.returncode, "'status'" in slip.stderr) == (2, True), slip.stderr
