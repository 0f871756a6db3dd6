"""What `airboss doctor` looks at."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airboss.cli.checks import (
    Verdict,
    check_avx2,
    check_cores,
    check_disk,
    check_engine,
    check_memory,
    check_port,
    check_python,
    check_writable,
)
from airboss.cli.doctor import data
from airboss.cli.tls_checks import check_tls
from airboss.config import TlsConfig
from airboss.domain.errors import SetupError
from airboss.governance import policies
from airboss.store.datadir import DataDir
from airboss.store.ledger_open import open_engine
from tests.cli.conftest import Run
from tests.support.certificates import self_signed
from tests.support.ports import unused_port
from tests.support.small_disk import fill, small_disk


@pytest.mark.parametrize(
    ("available_kb", "verdict"), [(8_000_000, "ok"), (700_000, "warn"), (300_000, "fail")]
)
def test_memory(available_kb: int, verdict: Verdict) -> None:
    """Under 1 GB warns, under 0.5 GB fails, and both say what to do."""
    found = check_memory(f"MemTotal: 9 kB\nMemAvailable:  {available_kb} kB\n")
    assert found.verdict == verdict
    assert (found.advice is None) == (verdict == "ok")


def test_what_the_system_does_not_tell_is_no_failure() -> None:
    """Without /proc nothing is claimed."""
    assert check_memory("").verdict == "warn"
    assert check_avx2("", "x86_64").verdict == "warn"


def test_avx2() -> None:
    """The flag itself counts, not a longer one; other processors do not need it."""
    assert check_avx2("flags\t: sse4_2 avx2 fma\n", "x86_64").verdict == "ok"
    assert check_avx2("flags\t: sse4_2 avx2x fma\n", "x86_64").verdict == "fail"
    assert check_avx2("Features: asimd\n", "aarch64").verdict == "ok"


def test_cores_python_and_disk(tmp_path: Path) -> None:
    """One core warns; this interpreter is fine; a directory not made yet is judged by its parent."""
    assert check_cores(1).verdict == "warn"
    assert check_cores(2).verdict == "ok"
    assert check_python().verdict == "ok"
    assert str(tmp_path) in check_disk(tmp_path / "a" / "b").seen


@pytest.mark.parametrize("short_of", ["room", "inodes", "nothing"])
def test_a_data_directory_is_written_to(tmp_path: Path, short_of: str) -> None:
    """Where no file can be made any more the doctor says why, and leaves nothing behind."""
    with small_disk(tmp_path / "disk", 4, inodes=8) as disk:
        if short_of == "room":
            fill(disk)
        for number in range(7 if short_of == "inodes" else 0):
            (disk / str(number)).touch()
        there = sorted(disk.iterdir())
        found = check_writable(disk / "a")
        assert found.verdict == ("ok" if short_of == "nothing" else "fail")
        said = {"room": "No space left", "inodes": "no inode is left", "nothing": str(disk)}[short_of]
        assert said in found.seen
        assert sorted(disk.iterdir()) == there


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_file_in_the_data_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """By the doctor, and by `up`, which said that of the directory."""
    with tempfile.TemporaryDirectory() as made:
        data = DataDir(Path(made) / "a")
        data.create()
        for path in (Path(made), data.path, *data.path.rglob("*")):
            os.chown(path, 12345, 12345)
        data.ledger_path.chmod(0o400)
        try:
            os.seteuid(12345)
            found = check_writable(data.path)
            with pytest.raises(SetupError, match=rf"cannot be used: {data.ledger_path}: Permission denied"):
                data.create()
        finally:
            os.seteuid(0)
    assert (found.verdict, found.seen) == ("fail", f"{data.ledger_path} cannot be read and written")
    assert found.advice is not None
    assert f"chmod u+rw {data.ledger_path}" in found.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_data_directory_of_somebody_else_is_told_of(tmp_path: Path) -> None:
    """As `up` refuses it; one who may not even look there is told so, too."""
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, 65534, 65534)
        found = [check_writable(Path(made))]
        try:
            os.seteuid(12345)
            found.append(check_writable(Path(made)))
            closed = check_writable(tmp_path / "data")  # below a directory of root's alone
        finally:
            os.seteuid(0)
    for each in found:
        assert (each.verdict, "belongs to user 65534" in each.seen) == ("fail", True)
    assert (closed.verdict, "cannot be written: Permission denied" in closed.seen) == ("fail", True)
    assert "as a user who may write there" in (closed.advice or "")


@pytest.mark.parametrize(
    ("days", "verdict", "said"),
    [
        (-0.5, "ok", "is good until"),
        (-1.9, "warn", "is good until"),
        (-3, "fail", "ended on"),
        (1, "fail", "begins on"),
    ],
)
def test_a_certificate(days: float, verdict: Verdict, said: str, tmp_path: Path) -> None:
    """It is good by now and for a while yet, of its two days half a day at least."""
    now = datetime.now(UTC)
    cert, key = self_signed(tmp_path, since=now + timedelta(days=days))
    [found] = check_tls(TlsConfig(cert=str(cert), key=str(key)), "0.0.0.0", now)
    assert (found.verdict, said in found.seen) == (verdict, True), found


def test_tls_is_asked_for_beyond_this_machine(tmp_path: Path) -> None:
    """Unless only this machine is to reach it; and a key must be that of its certificate."""
    now = datetime.now(UTC)
    assert list(check_tls(None, "127.0.0.1", now)) == []
    assert [each.verdict for each in check_tls(None, "0.0.0.0", now)] == ["warn"]
    cert, _ = self_signed(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    [found] = check_tls(TlsConfig(cert=str(cert), key=str(self_signed(other)[1])), "127.0.0.1", now)
    assert (found.verdict, "is not the key of" in found.seen) == ("fail", True)


def test_ports() -> None:
    """A port in use fails with the flag to change, unless the running Airboss has it."""
    port = unused_port()
    with socket.create_server(("127.0.0.1", port)):
        found = check_port("port", "127.0.0.1", port, flag="--port", ours=False)
        assert found.verdict == "fail"
        assert "--port" in (found.advice or "")
        assert check_port("port", "127.0.0.1", port, flag="--port", ours=True).verdict == "ok"
    assert check_port("port", "127.0.0.1", port, flag="--port", ours=False).verdict == "ok"


def test_doctor_on_an_empty_directory(run: Run, tmp_path: Path) -> None:
    """Where nothing is yet, the doctor finds nothing wrong with Airboss, makes nothing, and tells in JSON a
    check a line."""
    where = ["--data-dir", str(tmp_path / "d"), "--config", str(tmp_path / "airboss.toml")]
    _, out, _ = run("doctor", *where, "--port", "0", "--console-port", "0", "--json")
    found = {each["name"]: each for each in map(json.loads, out.splitlines())}
    assert {"python", "cores", "avx2", "memory", "disk", "port", "console port", "record store"} <= set(found)
    assert found["configuration"]["verdict"] == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_doctor_tells_all_it_can_to_who_may_not_read_the_data(run: Run) -> None:
    """What cannot be read is a failure of its own, beside everything else."""
    with tempfile.TemporaryDirectory() as made:
        data = DataDir(Path(made) / "d")
        data.create()
        for each in (Path(made), data.path):
            each.chmod(0o755)
        where = ["--data-dir", str(data.path), "--config", f"{made}/airboss.toml"]
        try:
            os.seteuid(12345)
            code, out, _ = run("doctor", *where, "--port", "0", "--console-port", "0", "--json")
        finally:
            os.seteuid(0)
    found = {each["name"]: each for each in map(json.loads, out.splitlines())}
    assert {"python", "memory", "disk", "data directory", "port", "configuration", "[store]"} <= set(found)
    assert (code, found["[store]"]["verdict"], found["record store"]["verdict"]) == (1, "fail", "fail")
    assert "Permission denied" in found["[store]"]["seen"]
    assert "as the user whose data it is" in found["[store]"]["advice"]


def test_doctor_fails_for_a_wrong_configuration(run: Run, tmp_path: Path) -> None:
    """A configuration that is wrong is a failure with its line, and exit code 1."""
    config = tmp_path / "airboss.toml"
    config.write_text("\nx = 1\n")
    where = ["--data-dir", str(tmp_path / "d"), "--config", str(config), "--port", "0", "--console-port", "0"]
    code, out, _ = run("doctor", *where)
    assert code == 1
    assert "airboss.toml:2" in out


def test_doctor_knows_whether_a_configuration_is_there(run: Run, tmp_path: Path) -> None:
    """The first start writes a starter, but under no other name."""
    where = ["--data-dir", str(tmp_path / "d"), "--port", "0", "--console-port", "0", "--json", "--config"]
    for name, verdict in (("airboss.toml", "ok"), ("other.toml", "fail")):
        _, out, _ = run("doctor", *where, str(tmp_path / name))
        found = {each["name"]: each["verdict"] for each in map(json.loads, out.splitlines())}
        assert found["configuration"] == verdict


def test_doctor_knows_whether_names_are_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a policy looks for names and nothing here finds them, nothing will work."""
    where = ["--data-dir", str(tmp_path / "data"), "--config", str(tmp_path / "airboss.toml")]
    where += ["--port", "0", "--console-port", "0"]
    policy = '[policies.p]\npii = { action = "mask", kinds = ["person"] }\n'
    (tmp_path / "airboss.toml").write_text(policy)
    monkeypatch.setattr(policies, "names_version", lambda: None)
    code, out, _ = run("doctor", *where)
    assert code == 1
    assert "policies.p.pii.kinds: 'person' is found by a model that is not installed here" in out
    monkeypatch.setattr(policies, "names_version", lambda: "a model 1")
    _, out, _ = run("doctor", *where, "--json")
    assert "p: names are found by a model 1" in out


def test_doctor_knows_which_weights_are_missing(run: Run, tmp_path: Path) -> None:
    """A weights file that is not there fails; weights that would be fetched only warn."""
    config = tmp_path / "airboss.toml"
    config.write_text(
        '[providers.here]\nkind = "local"\n'
        f'[models.a]\nprovider = "here"\nmodel = "file:{tmp_path}/none.gguf"\n'
        f'[models.b]\nprovider = "here"\nmodel = "https://x.invalid/b.gguf"\nsha256 = "{"0" * 64}"\n'
        f'[models.c]\nprovider = "here"\nmodel = "file:{config}"\nadapter = "file:{tmp_path}/c.gguf"\n'
        + "".join(f'[deployments.{each}]\nmodel = "{each}"\n' for each in "abc")
    )
    where = ["--data-dir", str(tmp_path / "d"), "--config", str(config), "--port", "0", "--console-port", "0"]
    _, out, _ = run("doctor", *where, "--json")
    weights = [each for each in map(json.loads, out.splitlines()) if each["name"] == "weights"]
    assert [each["verdict"] for each in weights] == ["fail", "warn", "fail"]
    assert f"c: file:{tmp_path}/c.gguf is not there" in weights[2]["seen"]


def test_an_engine_must_load_and_not_only_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that lacks a library of the system is a failure that names it."""
    (tmp_path / "broken_engine.py").write_text("raise ImportError('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    broken = check_engine("broken_engine")
    assert (broken.verdict, "libgomp.so.1" in broken.seen) == ("fail", True)
    assert check_engine("no_such_engine").verdict == "fail"
    assert check_engine().verdict == "ok"


def test_an_older_airboss_that_runs_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the next start: it says nothing yet of what came later."""
    made = DataDir(tmp_path / "data")
    made.create()
    open_engine(made.ledger_url).dispose()
    journal = {"unmoved_bytes": 0, "store_up": True, "store_detail": None}
    older = SimpleNamespace(running=True, get=lambda _path: {"journal": journal})
    monkeypatch.setattr("airboss.cli.api.reach", lambda *_: nullcontext(older))
    assert [each.verdict for each in data(made.path)] == ["ok", "ok"]
