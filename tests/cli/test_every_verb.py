"""What holds for all verbs, whatever they do: of their help, of calls that are wrong, of nobody there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from airboss.cli.verbs import command
from airboss.compose.up import put_into_force
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from tests.cli.admin_api import KEY
from tests.cli.conftest import Run
from tests.cli.running import CONFIG
from tests.support.ports import unused_port


def walk(verb: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each verb with its words, and each below it."""
    yield " ".join(path), verb
    for name, own in vars(verb).get("commands", {}).items():
        yield from walk(own, (*path, name))


EVERY = dict(walk(get_command(command())))
DO = {
    name: verb for name, verb in EVERY.items() if "commands" not in vars(verb) or verb.invoke_without_command
}
"""Those that do something themselves."""
SERVE = {"up", "demo", "gateway", "controller", "store", "counters", "replica serve", "replica ray"}


def options(verb: Any) -> set[str]:
    """All that it takes."""
    return {each for param in verb.params for each in param.opts if each.startswith("--")}


def called(name: str) -> list[str]:
    """A call of it with something for all that it needs."""
    call = name.split()
    for param in DO[name].params:
        if not param.opts[0].startswith("--"):
            call.append("1")
        elif param.required:
            call += [param.opts[-1], "1"]
    return call


@pytest.mark.parametrize("name", [name for name in EVERY if name])  # its own two options are typed once
@pytest.mark.parametrize("width", [40, 80])
def test_help_is_whole(run: Run, name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal of any width, nothing that is to be typed is cut, nor any word."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)  # which reads it when it is loaded
    code, out, err = run(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert not re.search(r"\S…", out), out
    assert not [each for each in options(EVERY[name]) if each not in out]


@pytest.mark.parametrize("name", EVERY)
def test_what_no_verb_knows_is_told(run: Run, name: str) -> None:
    """With the option, or the surplus word; exit 2, and nothing on stdout."""
    for surplus in ("--no-such", "no-such-word"):
        call = [*(called(name) if name in DO else name.split()), surplus]
        if name == "dataset remove" and surplus == "no-such-word":
            continue  # it takes as many as there are
        code, out, err = run(*call)
        assert (code, out, surplus in err) == (2, "", True), err
        assert "Traceback" not in err
        if "--json" in options(EVERY[name]) or name not in DO:
            code, out, err = run(*call, "--json")
            assert (code, out, surplus in json.loads(err)["error"]["message"]) == (2, "", True), err


def test_what_is_no_text_is_told(run: Run) -> None:
    """Bytes that are no UTF-8, or a locale that knows none."""
    code, out, err = run("monitor", "show", "err\udcff")
    assert (code, out) == (2, "")
    assert err.startswith("airboss: 'err\\udcff' is not UTF-8")


def asks(flag: str) -> list[str]:
    """Those that ask an Airboss, found by this option."""
    return [name for name, verb in DO.items() if flag in options(verb) and name not in SERVE]


@pytest.mark.parametrize("name", asks("--data-dir"))
def test_a_data_directory_that_is_none_is_told(run: Run, name: str, tmp_path: Path) -> None:
    """One that is not there, or a file; in words, and as JSON."""
    (tmp_path / "file").touch()
    for wrong in ("none", "file"):
        call = [*called(name), "--data-dir", str(tmp_path / wrong)]
        code, out, err = run(*call)
        assert "Traceback" not in err
        assert "cannot be read: Not a directory" not in err
        if name != "doctor" or wrong == "file":
            assert (code, out, err.startswith("airboss: ")) == (2, "", True), err
            assert json.loads(run(*call, "--json")[2])["error"]["message"]


@pytest.mark.parametrize("name", asks("--url"))
def test_nobody_there_is_told(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of the system's, and no trace; as JSON too."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", KEY)
    call = [*called(name), "--url", f"http://127.0.0.1:{unused_port()}"]
    code, out, err = run(*call)
    assert (code in (1, 2), out) == (True, ""), err
    assert err.startswith("airboss: ")
    assert "Errno" not in err
    assert json.loads(run(*call, "--json")[2])["error"]["message"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of an Airboss that has stopped."""
    data = DataDir(tmp_path_factory.mktemp("data"))
    data.create()
    with closing(SqlLedger(data.ledger_url)) as ledger:
        put_into_force(ledger, data, CONFIG, "airboss.toml")
    return data.path


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        ("rollout start asistant", "assistant"),
        ("rollout status asistant", "assistant"),
        ("monitor drift asistant", "assistant"),
        ("monitor drift asistant --accept", "assistant"),
        ("monitor show asistant.errors", "assistant.errors"),
        ("release show smal", "small"),
        ("keys create app --deployments asistant", "assistant"),
    ],
)
def test_a_slip_in_a_name_is_told_with_what_was_meant(run: Run, stopped: Path, call: str, meant: str) -> None:
    """Whatever verb is asked: not with a list to look it up in."""
    code, out, err = run(*call.split(), "--data-dir", str(stopped))
    assert (code, out) == (2, "")
    assert f'did you mean "{meant}"?' in err
