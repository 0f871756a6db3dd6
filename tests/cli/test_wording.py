"""What people hear who type a command that is called otherwise here."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from airboss.cli.verbs import VERBS
from airboss.cli.wording import ELSEWHERE
from tests.cli.conftest import Run
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


def test_a_verb_with_a_data_directory_of_its_own_looks_at_no_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`records export` goes on where the default that `records` has is a service's, which only that reads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".airboss").mkdir()
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path).name != ".airboss")
    code, _, err = run("records", "export", "x.csv", "--data-dir", "mine")
    assert (code, "there is no Airboss data in" in err, "readable" in err) == (2, True, False), err


def test_a_path_that_another_user_has_is_told_with_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a service's data directory: whoever installed it types verbs as somebody else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # who runs tests may be root, who reads all
    for call in (["records", "--json"], ["records", "export", "x.csv", "--json"]):
        code, out, err = run(*call, "--data-dir", str(tmp_path))
        message = json.loads(err)["error"]["message"]
        assert (code, out) == (2, "")
        assert f"--data-dir {tmp_path} is not readable: run airboss as the user whose it is" in message
        assert message.endswith("by --url.")
    (tmp_path / "airboss.toml").touch()
    err = run("diff", str(tmp_path / "airboss.toml"), "--json")[2]
    assert json.loads(err)["error"]["message"].endswith("run airboss as the user whose it is.")
