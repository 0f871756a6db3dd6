"""The wheel, which is what people install."""

from __future__ import annotations

import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from flit_core import buildapi

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_the_whole_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the package, pages and queries included, is in the wheel, and so is the licence."""
    monkeypatch.chdir(ROOT)
    wheel = zipfile.ZipFile(tmp_path / buildapi.build_wheel(str(tmp_path)))
    files = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src/airboss").rglob("*.*")}
    expected = {name for name in files if "__pycache__" not in name}
    assert expected <= set(wheel.namelist())
    for path in (ROOT / "docs").glob("*.md"):  # the package has only links to them
        assert wheel.read(f"airboss/console/manual/docs/{path.name}") == path.read_bytes()
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    offered = set(message_from_bytes(wheel.read(metadata)).get_all("Provides-Extra", []))
    assert {"postgres", "clickhouse", "valkey", "ray", "semantic"} <= offered, "an extra that a user may name"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
