"""Fixtures of the verbs' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airboss.cli.main import main
from tests.cli.admin_api import KEY, AdminApi, serving

Run = Callable[..., tuple[int, str, str]]
"""Runs a verb in this process; gives its exit code, stdout and stderr."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb as the command would."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, printed.out, printed.err

    return call


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """A running admin API, whose key is in the environment."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", KEY)
    with serving() as server:
        yield server
