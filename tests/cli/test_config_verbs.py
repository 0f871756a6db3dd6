"""`airboss apply`, `diff` and `export` against a real HTTP server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airboss.cli.diff import show_changes
from airboss.cli.output import plain
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

CHANGES = {
    "changes": [
        {"path": "deployments.a.model", "kind": "changed", "before": "small", "after": "large"},
        {"path": "deployments.b.aliases", "kind": "added", "before": None, "after": ["gpt-4o"]},
        {"path": "keys.old", "kind": "removed", "before": None, "after": None},
    ],
    "warnings": ["providers.x has a literal key"],
}
LINES = '~ deployments.a.model: "small" -> "large"\n+ deployments.b.aliases = ["gpt-4o"]\n- keys.old = null\n'


def test_apply_shows_the_difference_and_the_plan(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """The whole text is sent with its name; what changed, the plan's number and what waits are printed."""
    file = tmp_path / "airboss.toml"
    file.write_text("x = 1\n")
    served = [{"name": "a", "candidate": "1e82a5bb0dee" + "f" * 52}, {"name": "b", "candidate": None}]
    served.append({"name": "c", "candidate": None, "coming": "7c55c8c86368" + "f" * 52})
    api.answers["POST", "/api/v1/config"] = {"plan": 42, "deployments": served, **CHANGES}
    code, out, err = run("apply", str(file), "--url", api.url)
    waits = "a: 1e82a5bb0dee is a candidate, which no caller gets before `airboss rollout start a`\n"
    waits += "c: 7c55c8c86368 takes over once its engine is ready\n"
    assert (code, out) == (0, f"{LINES}applied as plan 42\n{waits}")
    assert err == "airboss: providers.x has a literal key\n"
    assert api.asked[0][3] == {"config": "x = 1\n", "source": str(file)}
    assert json.loads(run("apply", str(file), "--url", api.url, "--json")[1])["plan"] == 42
    run("apply", str(file), "--url", api.url, "--reason", "prices rose")
    assert api.asked[-1][3] == {"config": "x = 1\n", "source": str(file), "reason": "prices rose"}


def test_apply_of_a_wrong_file_is_a_wrong_call(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """The server's words about a configuration that is wrong end with exit code 2."""
    file = tmp_path / "airboss.toml"
    file.write_text("y = 1\n")
    message = f'{file}:1: "y" is not a key of the top of the file'
    api.answers["POST", "/api/v1/config"] = lambda _params: (400, {"error": {"message": message}})
    assert run("apply", str(file), "--url", api.url) == (2, "", f"airboss: {message}\n")
    code, out, err = run("apply", str(file), "--url", api.url, "--json")
    assert (code, out) == (2, "")
    error = {"message": message, "type": "invalid_request_error", "code": None, "param": None}
    assert json.loads(err) == {"error": error}


def test_apply_of_no_file_is_a_wrong_call(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """A file that is not there is said, with exit code 2, and nothing is asked."""
    code, _, err = run("apply", str(tmp_path / "none.toml"), "--url", api.url)
    assert code == 2
    assert "none.toml" in err
    assert api.asked == []


def test_diff_shows_and_changes_nothing(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """The difference is printed; without one that is said. Only the diff route is asked."""
    file = tmp_path / "airboss.toml"
    file.write_text("")
    api.answers["POST", "/api/v1/config/diff"] = CHANGES
    assert run("diff", str(file), "--url", api.url)[:2] == (0, LINES)
    api.answers["POST", "/api/v1/config/diff"] = {"changes": [], "warnings": []}
    assert run("diff", str(file), "--url", api.url)[:2] == (0, "no difference\n")
    assert {path for _, path, _, _ in api.asked} == {"/api/v1/config/diff"}


def test_export_prints_what_apply_takes(run: Run, api: AdminApi) -> None:
    """The text comes out as it was applied; before the first there is a word instead."""
    api.answers["GET", "/api/v1/config"] = {"config": "x = 1\n", "plan": 1}
    assert run("export", "--url", api.url) == (0, "x = 1\n", "")
    assert json.loads(run("export", "--url", api.url, "--json")[1]) == {"config": "x = 1\n", "plan": 1}
    api.answers["GET", "/api/v1/config"] = {"config": None, "plan": None}
    code, out, err = run("export", "--url", api.url)
    assert (code, out) == (2, "")
    assert "airboss up" in err


def test_of_what_is_long_what_differs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of a prompt and entries of a list, with what stands beside them; nothing of what is far away."""
    rules = [f"Rule {number} of the house holds." for number in range(9)]
    prompt = {"path": "prompt", "kind": "changed", "before": "\n".join(rules)}
    prompt["after"] = "\n".join(["Be kind.", *rules[1:6], "New\x9b.", *rules[7:]])
    added = [{"input": "The play was long." * 5, "output": "no"}, {"input": "b"}]
    examples = {"path": "examples", "kind": "changed", "before": [], "after": added}
    ended = {"path": "prompt", "kind": "changed", "before": "a" * 99, "after": "a" * 99 + "\n"}
    show_changes({"changes": [prompt, examples, ended], "warnings": []})
    long = "The play was long." * 5
    assert capsys.readouterr().out.splitlines() == [
        "~ prompt:",
        "    - Rule 0 of the house holds.",
        "    + Be kind.",
        "      Rule 1 of the house holds.",
        "    ...",
        "      Rule 5 of the house holds.",
        "    - Rule 6 of the house holds.",
        "    + New\N{REPLACEMENT CHARACTER}.",
        "      Rule 7 of the house holds.",
        "~ examples:",
        f'    + {{"input": "{long}", "output": "no"}}',
        '    + {"input": "b"}',
        f'~ prompt: "{"a" * 99}" -> "{"a" * 99}\\n"',
    ]


def test_what_somebody_wrote_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a change that another asks for: no escape, in one character or two, and nothing that turns the rest
    around."""
    odd = "b\x1b[8m\x9b8m\u202e\n"
    for kind in ("added", "removed", "changed"):
        change = {"path": "releases.a.prompt", "kind": kind, "before": odd, "after": odd}
        show_changes({"changes": [change], "warnings": []})
        assert capsys.readouterr().out.removesuffix("\n").isprintable()
    assert plain(odd).isprintable()
    assert plain("é ✈") == "é ✈"
