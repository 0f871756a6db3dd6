"""`airboss keys`, `erase` and `audit` as they are called: what is asked, what is printed, how they end."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from airboss.cli import api as admin
from airboss.cli import erase
from airboss.store.client import StoreClient
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
    given: dict[str, Any] = {
        "state": "active",
        "created_at": "2026-11-01T00:00:00Z",
        "deployments": None,
        "internal": False,
    }
    given |= {
        "limits": [],
        "budget": None,
        "each_user": None,
        "queue": None,
        "priority": "normal",
        "expires_at": None,
    }
    return {"name": name, "previous_until": None, "revoked_at": None, **given, **fields}


def test_a_console_key_is_made_and_listed_with_its_role(run: Run, api: AdminApi) -> None:
    """--role is sent as it is; what a key with one may is said in the list."""
    api.answers["POST", "/api/v1/keys"] = {
        "name": "alice",
        "key": SECRET,
        "deployments": [],
        "role": "viewer",
    }
    code, out, _ = run("keys", "create", "alice", "--role", "viewer", "--url", api.url, "--json")
    assert (code, json.loads(out)) == (0, {"name": "alice", "key": SECRET, "role": "viewer"})
    assert api.asked[-1][3] == {"name": "alice", "role": "viewer"}
    api.answers["GET", "/api/v1/keys"] = {"keys": [key("alice", role="viewer", deployments=[])]}
    assert "the console, as viewer" in " ".join(run("keys", "list", "--url", api.url)[1].split())


def test_keys_are_listed(run: Run, api: AdminApi) -> None:
    """A line each, for people and for programs."""
    found = [key("web"), key("old", state="revoked", deployments=["a"]), key("airboss", internal=True)]
    api.answers["GET", "/api/v1/keys"] = {"keys": found}
    code, out, _ = run("keys", "list", "--url", api.url)
    assert code == 0
    assert [words in out for words in ("everything", "revoked", "Airboss's own")] == [True] * 3
    _, out, _ = run("keys", "list", "--url", api.url, "--json")
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["web", "old", "airboss"]


def test_limits_and_spend_are_listed(run: Run, api: AdminApi) -> None:
    """What is used of what may be, and when it ends."""
    limits = [{"what": "requests", "limit": 600, "used": 12}, {"what": "concurrency", "limit": 5, "used": 1}]
    budget = {"usd": 12.0, "per": "month", "spent_usd": 3.4, "ends_at": "2026-12-01T00:00:00Z"}
    more = {"limits": limits, "budget": budget, "priority": "low", "expires_at": "2026-12-31T00:00:00Z"}
    more["each_user"] = {
        "limits": {"requests_per_minute": 1000, "concurrency": None},
        "budget": {"usd": 0.5, "per": "day"},
    }
    api.answers["GET", "/api/v1/keys"] = {"keys": [key("web", **more)]}
    out = " ".join(run("keys", "list", "--url", api.url)[1].split())
    assert "12 of 600 requests/min" in out
    assert "1,000 requests/min each user" in out
    assert "0.50 USD a day each user" in out
    assert "3.40 of 12.00 USD a month" in out
    assert "team" not in out
    team = {"name": "ops", "limits": limits[:1], "budget": budget | {"per": "day"}}
    api.answers["GET", "/api/v1/keys"] = {"keys": [key("web", team=team)]}
    out = " ".join(run("keys", "list", "--url", api.url)[1].split())
    assert "in team ops" in out
    assert "team ops: 12 of 600 requests/min" in out
    assert "team ops: 3.40 of 12.00 USD a day" in out
    api.answers["GET", "/api/v1/keys"] = {"keys": [key("web", **more)]}
    out = " ".join(run("keys", "list", "--url", api.url)[1].split())
    assert "low priority, until 2026-12-31 00:00:00" in out


def test_a_key_is_made_with_its_terms(run: Run, api: AdminApi) -> None:
    """Every option goes into the call; what is no number is refused before it."""
    api.answers["POST", "/api/v1/keys"] = {"name": "x", "key": SECRET, "deployments": None}
    said = ["--requests-per-minute", "60", "--concurrency", "2", "--budget", "1.5", "--per", "week"]
    said += ["--team", "ops", "--priority", "high", "--expires", "2026-12-31T00:00Z"]
    said += ["--user-requests-per-minute", "10", "--user-concurrency", "2", "--user-budget", "0.5"]
    assert run("keys", "create", "x", *said, "--url", api.url)[0] == 0
    assert api.asked[-1][3] == {
        "name": "x",
        "limits": {"requests_per_minute": 60, "concurrency": 2},
        "budget": {"usd": 1.5, "per": "week"},
        "each_user": {
            "limits": {"requests_per_minute": 10, "concurrency": 2},
            "budget": {"usd": 0.5},
        },
        "team": "ops",
        "priority": "high",
        "expires_at": "2026-12-31T00:00:00+00:00",
    }
    for wrong in (
        ["--concurrency", "few"],
        ["--budget", "much"],
        ["--expires", "soon"],
        ["--per", "day"],
        ["--user-tokens-per-minute", "few"],
        ["--user-budget", "much"],
        ["--user-per", "day"],
    ):
        code, _, err = run("keys", "create", "x", *wrong, "--url", api.url)
        assert (code, err.startswith("airboss: --")) == (2, True), err


def test_a_key_is_told_other_terms(run: Run, api: AdminApi) -> None:
    """What is left out stays: the limits that it has go along with the one that is said."""
    queue = {"size": 10, "wait_s": 1.0}
    limits = [{"what": "tokens", "limit": 9, "used": 0}, {"what": "concurrency", "limit": 5, "used": 1}]
    budget = {"usd": 12.0, "per": "month", "spent_usd": 3.4, "ends_at": "2026-12-01T00:00:00Z"}
    each_user = {
        "limits": {"requests_per_minute": 10, "tokens_per_minute": None, "concurrency": 2, "queue": None}
    }
    held = key("web", limits=limits, queue=queue, budget=budget, each_user=each_user)
    api.answers["GET", "/api/v1/keys"] = {"keys": [held]}
    api.answers["POST", "/api/v1/keys/web/set"] = held
    for said, sent in (
        (("--budget", "20"), {"budget": {"usd": 20.0, "per": "month"}}),
        (("--budget", "none", "--deployments", "all"), {"budget": None, "deployments": None}),
        (
            ("--tokens-per-minute", "none", "--requests-per-minute", "1"),
            {
                "limits": {
                    "tokens_per_minute": None,
                    "concurrency": 5,
                    "requests_per_minute": 1,
                    "queue": queue,
                }
            },
        ),
        (("--expires", "never"), {"expires_at": None}),
        (("--team", "ops"), {"team": "ops"}),
        (("--team", "none"), {"team": None}),
        (
            ("--user-requests-per-minute", "5"),
            {"each_user": {"limits": each_user["limits"] | {"requests_per_minute": 5}}},
        ),
        (("--user-requests-per-minute", "none", "--user-concurrency", "none"), {"each_user": None}),
        (
            ("--user-budget", "1", "--user-per", "day"),
            {"each_user": {"limits": each_user["limits"], "budget": {"usd": 1.0, "per": "day"}}},
        ),
    ):
        assert run("keys", "set", "web", *said, "--url", api.url)[0] == 0
        assert api.asked[-1][3] == sent
    assert "nothing to change" in run("keys", "set", "web", "--url", api.url)[2]


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
    counts: dict[str, Any] = {"records": 3, "scores": 1, "items": 2, "names": 0}
    found = None if fields.get("state") == "pending" else any({**counts, **fields}[each] for each in counts)
    counts |= {"id": 7, "found": found}
    return {"state": "done", "at": "x", "done_at": "y", "store_up": True, **counts, **fields}


def test_an_erasure_is_waited_for(run: Run, api: AdminApi) -> None:
    """It asks until it is done, and says what was found."""
    answers = iter([erasure(state="pending"), erasure()])
    api.answers["POST", "/api/v1/erasures"] = erasure(state="pending")
    api.answers["GET", "/api/v1/erasures/7"] = lambda _params: next(answers)
    code, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url)
    assert code == 0
    assert out == "forgotten: 3 records, 1 score, 2 items of datasets, 0 names in the audit log (erasure 7)\n"
    assert api.asked[0][3] == {"user": "ann"}
    assert "ann" not in "".join(path for _, path, *_ in api.asked)


def test_who_is_not_there_is_not_called_forgotten(run: Run, api: AdminApi) -> None:
    """A name misspelt is told of, with where the right one stands; to ask again is no failure."""
    none = dict.fromkeys(("records", "scores", "items", "names"), 0)
    api.answers["POST", "/api/v1/erasures"] = erasure(**none)
    code, out, _ = run("erase", "--user", "anm", "--yes", "--url", api.url)
    assert (code, out.startswith("nothing of 'anm' was found: no record,")) == (0, True)
    assert "airboss records --by user" in out
    _, out, _ = run("erase", "--user", "anm", "--yes", "--url", api.url, "--json")
    assert json.loads(out)["found"] is False


def test_an_erasure_is_pending_while_the_store_is_down(run: Run, api: AdminApi) -> None:
    """It says so at once, and ends well: what is left happens by itself."""
    api.answers["POST", "/api/v1/erasures"] = erasure(state="pending", store_up=False, records=0)
    code, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url)
    assert (code, out.startswith("pending: the record store is down; it goes on by itself")) == (0, True)
    _, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url, "--json")
    assert json.loads(out)["state"] == "pending"


def test_an_erasure_names_the_machines_that_it_waits_for(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have not brought all they held when it was asked for."""
    monkeypatch.setattr(erase, "WAIT_S", 0.0)
    api.answers["POST", "/api/v1/erasures"] = erasure(state="pending", at="2026-11-30T05:31:00Z")
    nodes = [{"name": f"m{at}", "clear_at": f"2026-11-30T05:3{at}:00Z"} for at in range(3)]
    api.answers["GET", "/api/v1/nodes"] = {"nodes": nodes}
    code, out, _ = run("erase", "--user", "ann", "--yes", "--url", api.url)
    assert (code, out.startswith("pending: it waits for m0, m1, which `airboss node list` shows;")) == (
        0,
        True,
    )


def test_verbs_wait_longer_than_the_controller_does() -> None:
    """For a record store that hangs: else nobody is told what it says then, as that an erasure is pending."""
    store_s = inspect.signature(StoreClient).parameters["timeout_s"].default
    assert store_s + 10 <= admin.TIMEOUT_S
    assert store_s < erase.WAIT_S


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


def test_what_a_leaf_says_is_written_in_words(run: Run, api: AdminApi) -> None:
    """Each value with its name, a long one cut; with `--json` it is as it is."""
    detail = {"by": "ann", "taken_back": True, "served": {"a_b": ["x", 2]}, "was": None}
    api.answers["GET", "/api/v1/audit"] = {"entries": [entry(1, detail=detail)], "next": None}
    out = run("audit", "list", "--url", api.url)[1]
    assert "by: ann; taken back: yes; served > a_b: x, 2; was: none" in out
    assert json.loads(run("audit", "list", "--url", api.url, "--json")[1])["detail"] == detail
    api.answers["GET", "/api/v1/audit"] = {"entries": [entry(1, detail={"served": "ab" * 100})], "next": None}
    out = run("audit", "list", "--url", api.url)[1]
    assert ("ab…" in out or "a…" in out, "ab" * 70 in out) == (True, False)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"size":"x"}', "no json"])
def test_a_checkpoint_that_is_none_is_a_wrong_call(run: Run, tmp_path: Path, text: str) -> None:
    """Exit code 2: nothing was found out about the log."""
    file = tmp_path / "cp.json"
    file.write_text(text)
    code, _, err = run("audit", "verify", "--checkpoint", str(file), "--data-dir", str(tmp_path))
    assert (code, "audit checkpoint" in err) == (2, True)
    assert run("audit", "verify", "--checkpoint", str(tmp_path / "none"), "--data-dir", str(tmp_path))[0] == 2
    assert run("audit", "verify", "--data-dir", str(tmp_path))[0] == 2


def test_a_report_goes_into_its_file_whatever_is_printed(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """With --json the object is printed too; the file is Markdown either way."""
    audit = {"valid": True, "checked": 3, "root": "ab", "problem": None}
    times = {"since": "2026-08-30", "until": "2026-11-28", "made_at": "2026-11-28T00:00:00Z"}
    found = {"version": "0.1.0", "clauses_as_of": "2026-11-23", "audit": audit, "rows": [], **times}
    api.answers["GET", "/api/v1/report"] = found
    files = [tmp_path / "people.md", tmp_path / "programs.md"]
    assert run("report", "--url", api.url, "--out", str(files[0]))[:2] == (0, f"wrote {files[0]}\n")
    code, out, _ = run("report", "--url", api.url, "--out", str(files[1]), "--json")
    assert (code, json.loads(out)) == (0, found)
    assert files[1].read_text() == files[0].read_text()
    assert files[1].read_text().startswith("# Evidence, 2026-08-30 to 2026-11-28\n")
    missing = tmp_path / "none" / "x.md"
    code, _, err = run("report", "--url", api.url, "--out", str(missing))
    assert (code, err.startswith(f"airboss: {missing} cannot be written: No such file")) == (2, True), err
    assert f"make the folder {missing.parent}" in err


def test_a_report_is_not_written_under_the_name_of_something_else(
    run: Run, api: AdminApi, tmp_path: Path
) -> None:
    """A file whose ending promises what is not made is refused, and what can be is told; nothing is asked."""
    for name in ("x.pdf", "x.json", "x.html", "x.docx"):
        code, _, err = run("report", "--url", api.url, "--out", str(tmp_path / name))
        assert (code, name in err, ".md" in err) == (2, True, True), err
    assert (list(tmp_path.iterdir()), api.asked) == ([], [])


def test_no_tag_with_a_budget_says_where_one_is_written(run: Run, api: AdminApi) -> None:
    """The name of the table too, which is no markup."""
    api.answers["GET", "/api/v1/tags"] = {"tags": []}
    code, _, err = run("keys", "tags", "--url", api.url)
    assert (code, err) == (0, "airboss: no tag has a budget; write one as [tags.NAME] in the configuration\n")
