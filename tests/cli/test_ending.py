"""How the command ends where the disk fails it."""

from __future__ import annotations

import errno
import os
import sys
from io import StringIO

import pytest

from airboss.cli.ending import told

PATH = "/data/journal/owner"


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("path", [PATH, None])
def test_a_disk_that_fails_is_told_in_words(
    why: int, path: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which file, why and what to do, and no trace; whoever stops meets it too."""
    monkeypatch.setattr(sys, "stdout", StringIO())  # it is closed
    error = OSError(why, os.strerror(why), path) if path else OSError(why, os.strerror(why))
    with pytest.raises(SystemExit) as ended, told(as_json=False):
        raise error
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"{path or 'the output, or a file of Airboss,'} cannot be written: {os.strerror(why)}; " in said
    assert "make that writable" in said


def test_another_failure_is_a_defect() -> None:
    """It is raised, so that the log has its trace."""
    with pytest.raises(PermissionError), told(as_json=False):
        raise PermissionError(errno.EACCES, "no", PATH)
