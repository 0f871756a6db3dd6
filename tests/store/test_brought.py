"""Which calls an import brought."""

from __future__ import annotations

import pytest

from airboss.store import brought
from airboss.store.brought import Brought


def test_those_brought_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there is room for; those brought first are forgotten first."""
    monkeypatch.setattr(brought, "BROUGHT_MAX", 3)
    known = Brought()
    known.note(["a", "b"])
    known.note(["c", "d"])
    assert [each for each in "abcde" if each in known] == ["b", "c", "d"]
