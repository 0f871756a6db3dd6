"""Which calls an import brought."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airboss.domain.errors import StoreUnavailable
from airboss.store import brought
from airboss.store.brought import Brought


def test_those_brought_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there is room for; those brought first are forgotten first."""
    monkeypatch.setattr(brought, "BROUGHT_MAX", 3)
    known = Brought()
    known.note(["a", "b"])
    known.note(["c", "d"])
    assert [each for each in "abcde" if each in known] == ["b", "c", "d"]


def test_the_next_process_knows_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts on the data: a page whose line was cut was not stored; what is far behind goes."""
    path = tmp_path / "brought"
    Brought(path).note(["a", "b"])
    Brought(path).note(["c\nx"])
    Brought(path).note([])
    with path.open("ab") as file:
        file.write(b'["d","e')
    known = Brought(path)
    assert [each for each in ("a", "b", "c\nx", "d", "e") if each in known] == ["a", "b", "c\nx"]
    monkeypatch.setattr(brought, "BROUGHT_MAX", 1)
    assert "a" not in Brought(path)
    assert path.read_bytes() == b'["c\\nx"]\n'
    os.utime(path, (0, 0))
    assert "c\nx" not in Brought(path)
    assert not path.exists()


def test_a_cut_line_hides_nothing_that_comes_after_it(tmp_path: Path) -> None:
    """What is noted next stands in a line of its own, for whoever starts after that."""
    path = tmp_path / "brought"
    path.write_bytes(b'["a"]\n["b","c')
    Brought(path).note(["d"])
    assert [each for each in "abcd" if each in Brought(path)] == ["a", "d"]


def test_the_file_is_bounded_while_a_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is imported into one that runs for months."""
    monkeypatch.setattr(brought, "BROUGHT_MAX", 3)
    path = tmp_path / "brought"
    known = Brought(path)
    for number in range(100):
        known.note([f"{number:03}"])
    assert path.stat().st_size < 100
    assert [each for each in ("096", "097", "098", "099") if each in Brought(path)] == ["097", "098", "099"]


def test_what_cannot_be_written_down_is_not_brought(tmp_path: Path) -> None:
    """The import is refused, and says which file it is about."""
    path = tmp_path / "none" / "brought"
    with pytest.raises(StoreUnavailable, match=f"{path} cannot be written: No such file or directory"):
        Brought(path).note(["a"])
