"""Whether the operator's file says what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.compose.own_file import own_file
from airboss.console.desk import OwnFile
from airboss.controller.starter import starter_config
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from tests.console.site import NOW
from tests.support.seed_records import seed_plan

STARTER = starter_config(openai_key_present=True)
LITERAL = STARTER.replace('"env:OPENAI_API_KEY"', '"sk-live-0123456789abcdef"')


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    """The starter is in force."""
    made = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    made.publish(STARTER, seed_plan(NOW))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (STARTER, "same"),
        (STARTER + "\n# a comment says nothing else\n", "same"),
        (STARTER.replace('aliases = ["gpt-4o"]', "").replace("gpt-4o", "gpt-4.1"), "differs"),
        (LITERAL, "differs"),
        ("[modles]\n", "differs"),
        ("= no TOML", "differs"),
        ("\udcff", "unreadable"),
        (None, "gone"),
    ],
)
def test_a_file_is_compared_by_meaning(
    ledger: SqlLedger, tmp_path: Path, text: str | None, state: str
) -> None:
    """Whatever stands in it: nothing raises."""
    path = tmp_path / "airboss.toml"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    data = DataDir(tmp_path / "data")
    assert own_file(ledger, data, str(path)) == OwnFile(path=str(path), state=state)  # type: ignore[arg-type]
    assert own_file(ledger, data, "") is None
    assert not (tmp_path / "data" / "secrets").exists(), "looking moves no secret"


def test_a_prompt_in_a_file_of_its_own_is_read(ledger: SqlLedger, tmp_path: Path) -> None:
    """What is in force has its text; a pipe is not waited for."""
    release = '\n[releases.r]\nmodel = "smollm2"\nprompt = {}\n'
    ledger.publish(STARTER + release.format('"Be kind."'), seed_plan(NOW))
    path, data = tmp_path / "airboss.toml", DataDir(tmp_path / "data")
    path.write_text(STARTER + release.format('"kind.md"'))
    assert own_file(ledger, data, str(path)) == OwnFile(path=str(path), state="unreadable")
    (tmp_path / "kind.md").write_text("Be kind.\n")
    assert own_file(ledger, data, str(path)) == OwnFile(path=str(path), state="same")
    path.unlink()
    (tmp_path / "kind.md").unlink()
    assert own_file(ledger, data, str(tmp_path)) == OwnFile(path=str(tmp_path), state="gone")
