"""`airboss keys`, `erase` and `audit` as they are called: what is asked, what is printed, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

SECRET = "ab_" + "k" * 43


def test_a_key_is_created_and_its_secret_printed_alone(run: Run, api: AdminApi) -> None:
    """On stdout nothing but the secret, or one object with it."""
    api.answers["POST", "/api/v1/keys"] = {"name": "team-a", "key": SECRET, "deployments": ["a", "b"]}
    code, out, err = run("keys", "create", "team-a", "--deployments", "a, b", "--url", api.url)
    assert (code, out) == (0, f"{SECRET}\n")
    assert "only time" in err
    assert api.asked[0][3] == {"name": "team-a", "deployments": ["a", "b"]}
    code, out, _ = run("keys", "create", "team-a", "--url", api.url, "--json")
    assert json.loads(out) == {"name": "team-a", "key": SECRET, "deployments": ["a", "b"]}
    assert api.asked[1][3] == {"name": "team-a"}


def test_a_name_that_is_taken_is_a_wrong_call(run: Run, api: AdminApi) -> None:
    """Exit code 2 with the server's words."""
    api.answers["POST", "/api/v1/keys"] = lambda _params: (400, {"error": {"message": "there is a key"}})
    assert run("keys", "create", "x", "--url", api.url) == (2, "", "airboss: there is a key\n")


def key(name: str, **fields: Any) -> dict[str, Any]:
    """A key as the admin API lists it."""
    given = {"state": "active", "created_at": "2026-11-01T00:00:00Z", "deployments": None, "internal": False}
    return {"name": name, "previous_until": None, "revoked_at": None, **given, **fields}


def test_keys_are_listed(run: Run, api: AdminApi) -> None:
    """A line each, for people and for programs."""
    found = [key("web"), key("old", state="revoked", deployments=["a"]), key("airboss", internal=True)]
    api.answers["GET", "/api/v1/keys"] = {"keys": found}
    code, out, _ = run("keys", "list", "--url", api.url)
    assert code == 0
    assert [words in out for words in ("everything", "revoked", "Airboss's own")] == [True] * 3
    _, out, _ = run("keys", "list", "--url", api.url, "--json")
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["web", "old", "airboss"]


def test_a_key_is_revoked_and_rotated(run: Run, api: AdminApi) -> None:
    """The grace is sent in seconds; without one the old secret ends at once."""
    api.answers["POST", "/api/v1/keys/web/revoke"] = key("web", state="revoked")
    assert run("keys", "revoke", "web", "--url", api.url)[:2] == (0, "revoked web\n")
    until = "2026-11-25T03:00:00Z"
    api.answers["POST", "/api/v1/keys/web/rotate"] = {"name": "web", "key": SECRET, "previous_until": until}
    code, out, err = run("keys", "rotate", "web", "--grace", "24h", "--url", api.url)
    assert (code, out, "until 2026-11-25 03:00:00 UTC" in err) == (0, f"{SECRET}\n", True)
    assert api.asked[-1][3] == {"grace_s": 86_400.0}
    run("keys", "rotate", "web", "--url", api.url)
    assert api.asked[-1][3] == {"grace_s": 0.0}
    assert run("keys", "rotate", "web", "--grace", "soon", "--url", api.url)[0] == 2


def erasure(**fields: Any) -> dict[str, Any]:
    """An erasure as the admin API gives it."""
    counts = {"records": 3, "scores": 1, "items": 2, "names": 0}
    return {"id": 7, "state": "done", "at": "x", "done_at": "y", "store_up": True, **counts, **fields}


def test_an_erasure_is_waited_for(run: Run, api: AdminApi) -> None:
    """It asks until it is done, and says what was found."""
    answers = iter([erasure(state="pending"), erasure()])
    api.answers["POST", "/api/v1/erasures"] = erasure(state="pending")
    api.answers["GET", "/api/v1/erasures/7"] = lambda _params: next(answers)
    code, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url)
    assert code == 0
    assert out == ("forgotten: 3 records, 1 scores, 2 dataset items, 0 names in the audit log (erasure 7)\n")
    assert api.asked[0][3] == {"user": "ann"}
    assert "ann" not in "".join(path for _, path, *_ in api.asked)


def test_an_erasure_is_pending_while_the_store_is_down(run: Run, api: AdminApi) -> None:
    """It says so at once, and ends well: what is left happens by itself."""
    api.answers["POST", "/api/v1/erasures"] = erasure(state="pending", store_up=False, records=0)
    code, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url)
    assert (code, out.startswith("pending: the record store is down; it goes on by itself")) == (0, True)
    _, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url, "--json")
    assert json.loads(out)["state"] == "pending"


def test_an_erasure_wants_to_be_meant(run: Run, api: AdminApi) -> None:
    """Without --yes and without a person to ask, nothing happens."""
    for extra in ((), ("--json",)):
        code, _, err = run("erase", "--user", "ann", "--url", api.url, *extra)
        assert (code, "--yes" in err) == (2, True)
    assert api.asked == []


def entry(number: int, **fields: Any) -> dict[str, Any]:
    """An entry as the admin API lists it."""
    given = {"at": "2026-11-24T03:00:00+00:00", "action": "keys.create", "actor": "admin key", "hash": "00"}
    return {"number": number, **given, "subject": f"key {number}", "user": None, "detail": {}, **fields}


def test_the_audit_log_is_listed_in_pages(run: Run, api: AdminApi) -> None:
    """As many as were asked for, newest first; an erased name is shown as such."""

    def page(params: dict[str, str]) -> dict[str, Any]:
        top = int(params.get("before", 600)) - 1
        count = int(params["limit"])
        return {"entries": [entry(top - n, actor=None) for n in range(count)], "next": top - count + 1}

    api.answers["GET", "/api/v1/audit"] = page
    code, out, _ = run(
        "audit", "list", "--limit", "501", "--action", "x", "--since", "1h", "--url", api.url, "--json"
    )
    assert (code, [json.loads(line)["number"] for line in out.splitlines()]) == (0, list(range(599, 98, -1)))
    assert api.asked[0][2]["action"] == "x"
    assert "since" in api.asked[1][2]
    assert "(erased)" in run("audit", "list", "--limit", "2", "--url", api.url)[1]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"size":"x"}', "no json"])
def test_a_checkpoint_that_is_none_is_a_wrong_call(run: Run, tmp_path: Path, text: str) -> None:
    """Exit code 2: nothing was found out about the log."""
    file = tmp_path / "cp.json"
    file.write_text(text)
    code, _, err = run("audit", "verify", "--checkpoint", str(file), "--data-dir", str(tmp_path))
    assert (code, "audit checkpoint" in err) == (2, True)
    assert run("audit", "verify", "--checkpoint", str(tmp_path / "none"), "--data-dir", str(tmp_path))[0] == 2
    assert run("audit", "verify", "--data-dir", str(tmp_path))[0] == 2
