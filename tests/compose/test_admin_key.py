"""A preset admin key must be worth guessing at."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.compose.parts import ADMIN_KEY_CHARS_MIN, ADMIN_KEY_ENV, preset_admin_key
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir


def test_a_short_admin_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its length and what to do, and without showing it; one of 16 characters is taken and never
    written."""
    data = DataDir(tmp_path)
    data.create()
    monkeypatch.setenv(ADMIN_KEY_ENV, "hunter2-hunter2")
    with pytest.raises(SetupError, match="15 characters") as refused:
        preset_admin_key(data)
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv(ADMIN_KEY_ENV, "h" * ADMIN_KEY_CHARS_MIN)
    assert preset_admin_key(data).preset
    assert not (data.secrets_dir / "admin_key").exists()


@pytest.mark.parametrize("unset", [None, ""])
def test_without_one_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: str | None) -> None:
    """256 random bits, kept; an empty variable is none."""
    data = DataDir(tmp_path)
    data.create()
    if unset is None:
        monkeypatch.delenv(ADMIN_KEY_ENV, raising=False)
    else:
        monkeypatch.setenv(ADMIN_KEY_ENV, unset)
    made = preset_admin_key(data)
    assert (made.preset, len(made.value)) == (False, 46)
    assert preset_admin_key(data).value == made.value
