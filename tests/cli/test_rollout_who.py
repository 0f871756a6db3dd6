"""Who is written down as having begun a rollout."""

from __future__ import annotations

import os
import pwd

import pytest

from airboss.cli.rollout import who


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clusters give each container a user that nobody has named; verbs run there all the same."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert who() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 1_000_660_000)
    assert who() == "user 1000660000"
