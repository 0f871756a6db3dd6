"""A preset admin key must be worth guessing at."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.compose.parts import (
    ADMIN_KEY_CHARS_MIN,
    ADMIN_KEY_ENV,
    API_KEY_ENV,
    preset_admin_key,
    preset_key,
)
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir

KEY = "correct-horse-battery"


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


@pytest.mark.parametrize("name", [ADMIN_KEY_ENV, API_KEY_ENV])
def test_a_preset_key_has_no_blanks_around_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break at its end, as a mounted file leaves it, is none of it; one that no header carries is
    refused, without showing it, and blanks alone are no key."""
    monkeypatch.setenv(name, f" {KEY}\n")
    assert preset_key(name) == KEY
    monkeypatch.setenv(name, " \n")
    assert preset_key(name) == ""
    for odd in (KEY[:9] + " " + KEY[9:], KEY + "\n" + KEY, KEY + "ü"):
        monkeypatch.setenv(name, odd)
        with pytest.raises(SetupError, match=f"{name} has a space") as refused:
            preset_key(name)
        assert KEY[:9] not in str(refused.value)
