"""`airboss policy`: what policies say and do to a text, from a file or from what is being served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airboss.cli.main import main
from airboss.governance import policies
from tests.cli.admin_api import KEY, serving

CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[policies.default]
pii = { action = "mask" }
[policies.cards]
pii = { action = "block", kinds = ["card"] }
[policies.own]
custom.codename = { words = ["Blue Heron"], action = "mask" }
custom.employee = { pattern = 'EMP-\\d{6}', action = "tokenize" }
[releases.r]
model = "m"
policy = "default"
[deployments.d]
release = "r"
policy = "cards"
[keys.shop]
policy = "cards"
[keys.till]
policy = "cards"
[teams.sales]
policy = "cards"
"""
TEXT = "Mail jane@example.com, card 4111 1111 1111 1111."


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The configuration as a file."""
    path = tmp_path / "airboss.toml"
    path.write_text(CONFIG)
    return str(path)


def ran(*words: str) -> int:
    """The exit code of a verb."""
    with pytest.raises(SystemExit) as done:
        main(words)
    return int(done.value.code or 0)


def test_list(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each policy with its action, its kinds and what it binds, calls of keys and of teams' keys too."""
    assert ran("policy", "list", "--config", file, "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["kinds"] == ["email", "phone", "card", "iban", "us_ssn", "ip", "secret"]
    assert rows[1] == {
        "name": "cards", "action": "block", "kinds": ["card"], "custom": {}, "releases": [],
        "deployments": ["d"], "keys": ["shop", "till"], "teams": ["sales"],
    }  # fmt: skip
    assert rows[2] == {
        "name": "own", "action": None, "kinds": [], "custom": {"codename": "mask", "employee": "tokenize"},
        "releases": [], "deployments": [], "keys": [], "teams": [],
    }  # fmt: skip
    assert ran("policy", "list", "--config", file) == 0
    assert "cards    block   card" in capsys.readouterr().out


def test_what_a_policy_does_to_a_text(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text as it would pass on stdout, what was found on stderr; 1 where it is blocked."""
    assert ran("policy", "test", "--config", file, "--policy", "default", "--text", TEXT) == 0
    shown = capsys.readouterr()
    assert shown.out == "Mail [EMAIL], card [CARD].\n"
    assert shown.err == "found: 1 email, 1 card\n"
    assert ran("policy", "test", "--config", file, "--policy", "cards", "--text", TEXT, "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "policy": "cards",
        "action": "block",
        "found": {"card": 1},
        "blocked": True,
        "text": "Mail jane@example.com, card ",
    }


def test_kinds_of_its_own(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are found, told and replaced as the others are."""
    words = ("policy", "test", "--config", file, "--policy", "own")
    assert ran(*words, "--text", "EMP-123456 on blue-heron, EMP-123456.") == 0
    shown = capsys.readouterr()
    assert shown.out == "<EMPLOYEE_1> on [CODENAME], <EMPLOYEE_1>.\n"
    assert shown.err == "found: 1 codename, 2 employee\n"


def test_a_text_in_a_file(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's text is looked at like any other."""
    (tmp_path / "text").write_text(TEXT)
    assert (
        ran("policy", "test", "--config", file, "--policy", "default", "--file", str(tmp_path / "text")) == 0
    )
    assert capsys.readouterr().out == "Mail [EMAIL], card [CARD].\n"


def test_what_is_being_served(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the configuration in force says what policies there are."""
    monkeypatch.setenv("AIRBOSS_ADMIN_KEY", KEY)
    with serving() as api:
        api.answers[("GET", "/api/v1/config")] = {"config": CONFIG}
        assert ran("policy", "test", "--url", api.url, "--policy", "default", "--text", "10.2.3.4") == 0
        assert capsys.readouterr().out == "[IP]\n"
        assert ran("policy", "test", "--url", api.url, "--policy", "new", "--text", "10.2.3.4") == 2
        assert "; `--config FILE` looks into a file that is not applied yet" in capsys.readouterr().err


def test_without_what_finds_names(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are not passed for want of the model: the call says how to get it."""
    monkeypatch.setattr(policies, "names_version", lambda: None)
    text = Path(file).read_text()
    Path(file).write_text(text.replace('["card"]', '["card", "person"]'))
    assert ran("policy", "test", "--config", file, "--policy", "cards", "--text", "I am Jane Doe.") == 2
    said = capsys.readouterr()
    assert "'person' is found by a model that is not installed here" in said.err
    assert "-m pip install 'airboss[names]'`" in said.err
    assert "Jane" not in said.out


def test_wrong_calls(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy or a file that is not there, and two texts, are told in words."""
    assert ran("policy", "test", "--config", file, "--policy", "nope", "--text", "x") == 2
    assert "there are: default, cards" in capsys.readouterr().err
    missing = str(tmp_path / "missing")
    assert ran("policy", "test", "--config", file, "--policy", "default", "--file", missing) == 2
    assert (
        ran("policy", "test", "--config", file, "--policy", "default", "--file", missing, "--text", "x") == 2
    )
    assert "not both" in capsys.readouterr().err
