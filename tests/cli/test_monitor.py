"""`airboss monitor`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from airboss.cli.status import ALARMS_TOLD, made_room, put_away, troubles, unserved, well
from airboss.cli.status import alarm as status_line
from airboss.cli.status import alarms as status_lines
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.support.seed_records import seed_status


def alarm(name: str = "errors", **fields: Any) -> dict[str, Any]:
    """An alarm as the admin API gives it."""
    return {
        "name": name,
        "state": "ok",
        "since": "2026-11-23T14:30:00+00:00",
        "kind": "threshold",
        "deployment": "support",
        "metric": "error_rate",
        "value": 0.25,
        "why": None,
        "detail": None,
        "records": [],
        "default": False,
        "comparison": "above",
        "threshold": 0.1,
        "window": "5m",
        "for": "1m",
        "notify": ["ops"],
        "checked_at": None,
        "silence": None,
        **fields,
    }


def told(**fields: Any) -> dict[str, Any]:
    """A notification as the admin API gives it."""
    return {
        "id": "n1",
        "notifier": "ops",
        "kind": "firing",
        "state": "sent",
        "created_at": "2026-11-23T14:30:00+00:00",
        "attempts": 1,
        "due_at": "2026-11-23T14:30:00+00:00",
        "ended_at": None,
        "error": None,
        **fields,
    }


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("no_data", 0), ("pending", 0), ("firing", 1)])
def test_list_shows_states_and_answers_by_exit_code(run: Run, api: AdminApi, state: str, code: int) -> None:
    """1 if one is firing; for people a table, for programs an object a line."""
    nothing = alarm("quiet", state=None, since=None, value=None, why="no calls in the last 5m")
    api.answers["GET", "/api/v1/alarms"] = {"alarms": [alarm(state=state), nothing]}
    ended, out, _ = run("monitor", "list", "--url", api.url)
    assert ended == code
    assert "error_rate of support above 10 % over 5m for 1m" in out
    assert "no calls in the last 5m" in out
    ended, out, _ = run("monitor", "list", "--url", api.url, "--json")
    assert ended == code
    assert [json.loads(line)["state"] for line in out.splitlines()] == [state, None]


def test_numbers_are_to_be_read(run: Run, api: AdminApi) -> None:
    """Neither sixteen digits nor powers of ten."""
    many = alarm("tokens", metric="output_tokens", value=1234567.0, threshold=1000000.0)
    third = alarm("third", value=1 / 3, threshold=0.1)
    api.answers["GET", "/api/v1/alarms"] = {"alarms": [many, third]}
    out = run("monitor", "list", "--url", api.url)[1]
    assert all(each in out for each in ("1,234,567", "above 1,000,000", "33.3 % "))
    assert "e+06" not in out


def test_what_fires_stands_first_in_the_list(run: Run, api: AdminApi) -> None:
    """Then what is about to; the rest by name."""
    states = {"a": "ok", "b": "pending", "c": "no_data", "d": "firing"}
    found = [alarm(name, state=state) for name, state in states.items()]
    api.answers["GET", "/api/v1/alarms"] = {"alarms": found}
    _, out, _ = run("monitor", "list", "--url", api.url)
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["d", "b", "a", "c"]


def test_list_of_nothing_says_what_to_do(run: Run, api: AdminApi) -> None:
    """An empty state is no empty screen."""
    api.answers["GET", "/api/v1/alarms"] = {"alarms": []}
    code, _, err = run("monitor", "list", "--url", api.url)
    assert (code, "[alarms.NAME]" in err) == (0, True)


def test_show_has_history_and_who_was_told(run: Run, api: AdminApi) -> None:
    """With what failed and why; the name may hold any sign."""
    silence = {
        "until": "2026-11-23T16:30:00+00:00",
        "reason": "known [x]",
        "by": "ann",
        "at": "2026-11-23T14:30:00+00:00",
    }
    event = {"alarm": "errors", "at": "2026-11-23T14:30:00+00:00", "before": "ok", "after": "firing"}
    page = {
        "alarm": alarm(state="firing", silence=silence),
        "events": [event | {"value": 0.5, "bound": 0.1}],
        "notifications": [told(), told(state="failed", error="ops answered 500")],
    }
    api.answers["GET", "/api/v1/alarms/err%20ors"] = page
    code, out, _ = run("monitor", "show", "err ors", "--url", api.url)
    assert code == 1
    for shown in ("ok → firing", "known [x]", "failed (ops answered 500)", "by ann"):
        assert shown in out
    code, out, _ = run("monitor", "show", "err ors", "--url", api.url, "--json")
    assert (code, json.loads(out)) == (1, page)


def test_silence_needs_a_time_and_a_reason(run: Run, api: AdminApi) -> None:
    """Or an end; anything else is a wrong call, and nothing is sent."""
    for wrong in ([], ["--for", "2h"], ["--for", "2h", "--off"], ["--for", "2h", "--reason", " "]):
        code, _, err = run("monitor", "silence", "errors", *wrong, "--url", api.url)
        assert (code, bool(err)) == (2, True)
    assert api.asked == []


def test_silence_is_posted(run: Run, api: AdminApi) -> None:
    """For how long and why; `--off` ends it."""
    until = {"until": "2026-11-23T16:30:00+00:00", "reason": "known", "by": "x", "at": "y"}
    api.answers["POST", "/api/v1/alarms/errors/silence"] = alarm(silence=until)
    code, out, _ = run("monitor", "silence", "errors", "--for", "2h", "--reason", "known", "--url", api.url)
    assert (code, "silenced until" in out) == (0, True)
    assert api.asked[-1][3] == {"for": "2h", "reason": "known"}
    api.answers["POST", "/api/v1/alarms/errors/silence"] = alarm()
    code, out, _ = run("monitor", "silence", "errors", "--off", "--url", api.url, "--json")
    assert (code, json.loads(out)["silence"]) == (0, None)
    assert api.asked[-1][3] == {"for": "", "reason": ""}


@pytest.mark.parametrize(("state", "code"), [("sent", 0), ("failed", 1), ("waiting", 1)])
def test_a_test_answers_by_exit_code(run: Run, api: AdminApi, state: str, code: int) -> None:
    """1 unless everybody got it."""
    notes = [
        told(kind="test"),
        told(kind="test", notifier="else", state=state, error=None if code == 0 else "no"),
    ]
    api.answers["POST", "/api/v1/alarms/errors/test"] = {"notifications": notes}
    ended, out, _ = run("monitor", "test", "errors", "--url", api.url)
    assert ended == code
    assert f"else: {state}" in out
    ended, out, _ = run("monitor", "test", "errors", "--url", api.url, "--json")
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["sent", state]


def test_records_are_asked_for_by_score(run: Run, api: AdminApi) -> None:
    """`--score` goes to the admin API as it was written."""
    api.answers["GET", "/api/v1/records"] = {"records": [], "next": None}
    code, _, _ = run("records", "--score", "helpfulness<0.5", "--url", api.url)
    assert code == 0
    assert api.asked[-1][2]["score"] == "helpfulness<0.5"


def test_drift_shows_what_fixed_prompts_are_answered_now(run: Run, api: AdminApi) -> None:
    """Beside what they were, each in a line."""
    changed = {"prompt": "What is 17 * 23?", "before": "It is\n391.", "after": "[red]No.", "likeness": 0.1}
    checks = {"state": "drifted", "since": "2026-11-23T14:30:00+00:00", "changed": [changed]}
    found = {
        "deployment": "support",
        "state": "drifted",
        "n": 60,
        "needed": 60,
        "found": [],
        "checks": checks,
    }
    api.answers["GET", "/api/v1/drift"] = {"deployments": [found]}
    code, out, _ = run("monitor", "drift", "--url", api.url)
    assert code == 1
    assert "      before: It is 391.\n      now: [red]No.\n" in out


def test_status_shows_alarms_and_a_fire_is_not_well() -> None:
    """One line each; only a firing one changes the exit code."""
    line = {
        "name": "errors",
        "state": "firing",
        "since": "2026-11-23T14:30:00+00:00",
        "kind": "threshold",
        "deployment": "support",
        "metric": "error_rate",
        "value": 0.25,
        "silenced_until": "2026-11-23T15:30:00+00:00",
    }
    found = {"running": True, "journal": {"store_up": True}, "deployments": [], "processes": []}
    assert "alarm errors [red]firing[/]" in status_line(line)
    assert "error_rate of support is 25 %, silenced" in status_line(line)
    chosen = status_line(line | {"where": {"key": "app", "tag": "a=b"}})
    assert "error_rate of support (key app, tag a=b) is 25 %" in chosen
    share = status_line(line | {"kind": "sequential", "metric": "latency_p95"})
    assert "latency_p95 of support is worse than usual in 25.00% of calls" in share, "no latency, but a share"
    assert "error_rate of support is 25 %" in status_line(line | {"kind": "sequential"})
    assert "dead_letters of Airboss is 0.25" in status_line(
        line | {"kind": "recording", "metric": "dead_letters", "deployment": ""}
    )
    burns = status_line(line | {"kind": "burn_rate", "metric": "good calls", "value": 4.98})
    assert "the error budget of support is used up 4.98 times as fast as it may be" in burns
    three = status_line(line | {"kind": "drift", "metric": "drift", "value": 3.0})
    assert "3 things about support drifted" in three
    one = status_line(line | {"kind": "probe", "metric": "probe", "value": 1.0})
    assert "the probe of support found 1 difference" in one
    assert "differences" not in one
    assert "drift of support is -" in status_line(line | {"kind": "drift", "metric": "drift", "value": None})
    assert "80% of its budget is spent, silenced" in status_line(line | {"kind": "budget", "value": 0.8})
    assert not well(found | {"alarms": [line]})
    for state in ("ok", "pending", "resolved", "no_data"):
        assert well(found | {"alarms": [line | {"state": state}]})


def test_alarms_without_anything_to_measure_are_one_calm_line() -> None:
    """A new system says so once; what burns, waits or has a value keeps its line."""
    line = {"since": None, "kind": "change", "deployment": "d", "metric": "m", "silenced_until": None}
    new = [line | {"name": f"d.{name}", "state": "no_data", "value": None} for name in ("cost", "errors")]
    idle = line | {"name": "d.traffic", "state": "ok", "value": None}
    fire = line | {"name": "d.fire", "state": "firing", "value": None}
    said = line | {"name": "d.drift", "state": "ok", "value": 0.0}
    shown = list(status_lines([*new, idle, fire, said]))
    assert shown[-1] == "3 alarms have nothing to measure yet: d.cost, d.errors, d.traffic"
    assert ["firing" in shown[0], "0" in shown[1], len(shown)] == [True, True, 3]
    assert list(status_lines(new[:1])) == ["1 alarm has nothing to measure yet: d.cost"]


def test_of_many_alarms_that_are_well_there_are_numbers() -> None:
    """Forty deployments have eighty of them; what burns and what somebody silenced keeps its line."""
    line = {"since": None, "kind": "change", "deployment": "d", "metric": "m", "silenced_until": None}
    ok = [line | {"name": f"d{n}.errors", "state": "ok", "value": 0.0} for n in range(ALARMS_TOLD + 1)]
    new = [line | {"name": f"d{n}.cost", "state": "no_data", "value": None} for n in range(ALARMS_TOLD + 2)]
    fire = line | {"name": "d.fire", "state": "firing", "value": 1.0}
    hushed = ok[0] | {"name": "d.hushed", "silenced_until": "2026-11-23T15:30:00+00:00"}
    shown = list(status_lines([*ok, fire, hushed, *new]))
    assert ["d.fire" in shown[0], "d.hushed" in shown[1]] == [True, True]
    assert shown[2] == "9 alarms are ok; `airboss monitor list` shows them"
    assert shown[3].startswith("10 alarms have nothing to measure yet: d0.cost, ")
    assert shown[3].endswith("d7.cost and 2 more")
    assert len(list(status_lines(ok[1:]))) == ALARMS_TOLD


def test_status_begins_with_gateways_that_serve_nothing() -> None:
    """Those that say that they can record no call, and those that have not said anything for long."""
    silent = {"name": "gateway-1", "state": "silent", "detail": "has said nothing of itself since 9:00"}
    found = {
        "unrecordable": ["gateway-0: it cannot"],
        "processes": [{"name": "store", "state": "ready"}, silent],
    }
    assert list(unserved(found)) == [
        "[red]no call is served[/] by gateway-0: it cannot",
        "[red]gateway-1[/] has said nothing of itself since 9:00",
    ]


def test_status_begins_with_providers_that_are_out(run: Run, api: AdminApi) -> None:
    """Though fallbacks answer, not all is well; it is not told a second time below, and a flap only there."""
    now = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    found = msgspec.to_builtins(seed_status(now))
    place: dict[str, Any] = {
        "provider": "main",
        "model": "up",
        "url": "http://main/v1",
        "key": None,
        "state": "half_open",
    }
    place |= {"last_failure": "upstream_auth", "limited": None, "deployments": ["support"]}
    place["instead"] = "spare/small"
    api.answers["GET", "/api/v1/status"] = found | {
        "breakers": [place | {"out_since": now.isoformat()}, place | {"model": "flap", "out_since": None}]
    }
    ended, out, err = run("status", "--url", api.url)
    assert (ended, err) == (1, "")
    assert out.index("main/up has not answered for") < out.index("deployment") < out.index("main/flap")
    assert out.count("main/up") == 1
    said = " ".join(out.split())
    assert "upstream_auth. Calls of support go to spare/small instead" in said
    assert "Check the key of provider main." in said
    spent = {"last_failure": "insufficient_quota", "limited": "out_of_quota", "state": "open"}
    slow = {"last_failure": "rate_limit_exceeded", "limited": "rate_limited", "state": "closed"}
    for each, title, step in (
        (spent, "has been out of quota for", "Add credit or raise the quota at provider main"),
        (slow, "has been rate limited for", "Ask provider main for a higher limit"),
    ):
        told = [place | each | {"out_since": now.isoformat()}]
        api.answers["GET", "/api/v1/status"] = found | {"breakers": told}
        ended, out, _ = run("status", "--url", api.url)
        said = " ".join(out.split())
        assert ended == 1
        assert f"main/up {title}" in said
        assert f"it refuses every call with {each['last_failure']}. Calls of support go to" in said
        assert step in said
    api.answers["GET", "/api/v1/status"] = found | {"breakers": [place | {"out_since": None}]}
    assert run("status", "--url", api.url)[0] == 0, "a flap"


def test_status_reads_an_older_airboss_too(run: Run, api: AdminApi) -> None:
    """While one is upgraded the command is newer than what runs, which does not tell what came since."""
    now = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    found = msgspec.to_builtins(seed_status(now))
    del found["retention"]["answers_days"], found["journal"]["waits_for"]
    place = {"provider": "main", "model": "up", "url": "http://main/v1", "key": None, "state": "open"}
    out_since = {"last_failure": "upstream_auth", "out_since": now.isoformat()}
    found["breakers"] = [{**place, **out_since, "deployments": ["support"], "instead": "spare/small"}]
    api.answers["GET", "/api/v1/status"] = found
    ended, out, err = run("status", "--url", api.url)
    assert (ended, err) == (1, "")
    assert "main/up has not answered for" in out
    assert "record store up" in out


def test_status_begins_with_alarms_that_fire(run: Run, api: AdminApi) -> None:
    """Before what is served, and not a second time below."""
    line = {"kind": "threshold", "deployment": "d", "metric": "error_rate", "value": 1.0}
    line |= {"since": "2026-11-23T14:30:00+00:00", "silenced_until": None}
    states = {"d.ok": "ok", "d.fire": "firing"}
    found = msgspec.to_builtins(seed_status(datetime(2026, 11, 23, 14, 30, tzinfo=UTC)))
    found["alarms"] = [line | {"name": name, "state": state} for name, state in states.items()]
    api.answers["GET", "/api/v1/status"] = found
    ended, out, err = run("status", "--url", api.url)
    assert (ended, err) == (1, "")
    assert out.index("d.fire firing") < out.index("deployment") < out.index("d.ok ok")
    assert out.count("d.fire") == 1


def test_status_tells_of_dead_letters_and_of_a_full_disk() -> None:
    """How many, why the newest is one, and where to look; with a disk nearly full not all is well."""
    letter = {"why": "damaged [by hand]"}
    (line,) = put_away({"corrupt_frames": 2, "stray_feedback": 1, "dead_letters": [letter]})
    assert "3 dead letters since the start" in line, "some may be records by now"
    assert r"because damaged \[by hand]" in line
    assert list(put_away({"corrupt_frames": 0, "stray_feedback": 0, "dead_letters": [letter]})) == []
    full, dropped = made_room({"disk_full": True, "dropped": 4096})
    assert "nearly full" in full
    assert "4,096 records" in dropped
    found = {"running": True, "journal": {"store_up": True}, "deployments": [], "processes": []}
    assert well(found | {"retention": {"disk_full": False}})
    assert not well(found | {"retention": {"disk_full": True}})


def test_status_tells_whom_a_summary_did_not_reach() -> None:
    """And an older Airboss, which says nothing of it, is no error."""
    found = {"untold": ["the summary of spend did not reach [ops]: HTTP 404"]}
    (line,) = troubles(found)
    assert r"did not reach \[ops]: HTTP 404" in line
    assert list(troubles({})) == []
