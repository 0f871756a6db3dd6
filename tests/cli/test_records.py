"""`airboss records` against a real HTTP server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airboss.cli import api as cli_api
from tests.cli.admin_api import AdminApi, record
from tests.cli.conftest import Run
from tests.support.started import started


def paged(records: list[dict[str, Any]]) -> Any:
    """An answer that pages through these records, newest first, three at a time at most."""

    def answer(params: dict[str, str]) -> dict[str, Any]:
        older = [each for each in records if each["id"] < params.get("before", "f")]
        page = older[: min(3, int(params["limit"]))]
        return {"records": page, "next": page[-1]["id"] if len(page) < len(older) else None}

    return answer


def test_json_is_one_record_a_line_newest_first(run: Run, api: AdminApi) -> None:
    """With --json every page's records come one a line, with their bodies, up to the limit."""
    made = [record(number, request={"model": "gpt-4o"}) for number in range(9, 0, -1)]
    api.answers["GET", "/api/v1/records"] = paged(made)
    code, out, err = run("records", "--url", api.url, "--json", "--limit", "7")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == made[:7]
    assert {params["bodies"] for _, _, params, _ in api.asked} == {"true"}


def test_a_store_that_is_away_for_a_later_page_is_waited_for(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long list does not break off because the store starts again; the first page says so at once."""
    monkeypatch.setattr(cli_api, "AGAIN_S", 0.0)
    made = [record(number) for number in range(7, 0, -1)]
    away = 503, {"error": {"message": "the record store does not answer"}}
    turns = iter([False, True, True, False, False, True])
    listed = paged(made)
    api.answers["GET", "/api/v1/records"] = lambda params: away if next(turns) else listed(params)
    code, out, err = run("records", "--url", api.url, "--json")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [each["id"] for each in made])
    assert err.count("the record store does not answer; trying again") == 1
    code, _, err = run("records", "--url", api.url, "--json")
    assert code == 1
    assert "trying again" not in err


def test_a_long_list_is_lines_and_no_table(run: Run, api: AdminApi) -> None:
    """To lay out a table takes 0.7 ms for each row; a page is as much as may be asked for."""
    api.answers["GET", "/api/v1/records"] = paged([record(number) for number in range(5, 0, -1)])
    code, out, _ = run("records", "--url", api.url, "--limit", "1000")
    assert (code, out.count("\n"), out.startswith("time")) == (0, 6, True)
    code, out, _ = run("records", "--url", api.url, "--limit", "1001")
    assert (code, out.count("\n"), out.startswith("time")) == (0, 5, False)
    assert {params["limit"] for _, _, params, _ in api.asked} == {"1000", "998", "997"}


@pytest.mark.parametrize("asked", ["1234567", "123456.75", "0.5", "86400000"])
def test_the_slowest_are_asked_for_by_just_the_number_given(run: Run, api: AdminApi, asked: str) -> None:
    """Of a long time no digit is rounded away, and none is added."""
    api.answers["GET", "/api/v1/records"] = {"records": [], "next": None}
    assert run("records", "--url", api.url, "--slower-ms", asked)[0] == 0
    assert api.asked[0][2]["slower_ms"] == asked


def test_a_sorted_list_is_asked_for_whole(run: Run, api: AdminApi) -> None:
    """It is not paged, so that more than the server gives at once are refused and never left out unsaid."""
    api.answers["GET", "/api/v1/records"] = {"records": [record(1)], "next": None}
    assert run("records", "--url", api.url, "--json", "--sort", "slowest", "--limit", "700")[0] == 0
    assert api.asked[0][2]["limit"] == "700"
    code, _, err = run("records", "--url", api.url, "--sort", "slowest", "--limit", "1001")
    assert code == 2
    assert "1,000" in err


@pytest.mark.parametrize("flags", [["--search", "x"], ["--sort", "slowest"], ["--id", "x"], ["--follow"]])
def test_what_shows_calls_does_not_go_with_sums(run: Run, api: AdminApi, flags: list[str]) -> None:
    """It is told in the words of the flags, before anything is asked."""
    code, _, err = run("records", "--url", api.url, "--by", "model", *flags)
    assert (code, "--most" in err, api.asked) == (2, True, [])


def test_filters_have_the_names_of_the_flags(run: Run, api: AdminApi) -> None:
    """Each filter reaches the API under its flag's name; durations become times."""
    api.answers["GET", "/api/v1/records"] = paged([])
    api.answers["GET", "/api/v1/deployments"] = {"deployments": []}
    flags = ["--deployment", "d", "--status", "error", "--model", "m", "--user", "u"]
    times = ["--since", "2h", "--until", "2026-11-23T12:00:00Z"]
    assert run("records", "--url", api.url, *flags, *times)[0] == 0
    _, _, params, _ = api.asked[0]
    assert params.pop("since").endswith("+00:00")
    assert params.pop("until") == "2026-11-23T12:00:00+00:00"
    wanted = {"deployment": "d", "status": "error", "model": "m", "user": "u"}
    assert params == {**wanted, "limit": "50", "bodies": "false"}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_days_begin_where_their_dates_say(
    run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Days and months are those of UTC, and so are the dates that a question by them is bounded with: with
    ours the first one would be a part of the day before. A time with a zone means what it says."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    api.answers["GET", "/api/v1/usage"] = {"group_by": ["model"], "rows": [], "against": None, "per": "day"}
    times = ["--since", "2026-11-28", "--until", "2026-11-30T00:00+05:00"]
    try:
        assert run("records", "--url", api.url, "--by", "model", "--per", "day", *times)[0] == 0
        assert run("records", "--url", api.url, "--by", "model", *times)[0] == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    (_, _, whole, _), (_, _, ours, _) = api.asked
    assert whole["since"] == "2026-11-28T00:00:00+00:00"
    assert ours["since"] != whole["since"]
    assert whole["until"] == ours["until"] == "2026-11-29T19:00:00+00:00"


def test_a_file_of_what_was_used_is_told_of_in_json_too(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """With --json nothing but one object is printed, which names the file."""
    api.answers["GET", "/api/v1/usage"] = ["any"]
    file = tmp_path / "used.csv"
    code, out, _ = run("records", "--url", api.url, "--by", "model", "--out", str(file), "--json")
    assert (code, json.loads(out)) == (0, {"file": str(file), "bytes": file.stat().st_size})


def test_the_table_shows_speed_length_tokens_cost_and_release(run: Run, api: AdminApi) -> None:
    """A person sees latency, time to first token, length, tokens, cost and the release's digest."""
    failed = record(1, status="error", error_type="interrupted", cost_usd=None, ttft_ms=None)
    api.answers["GET", "/api/v1/records"] = paged([record(2), failed])
    code, out, _ = run("records", "--url", api.url)
    assert code == 0
    head, first, second = out.splitlines()
    columns = ["time", "deployment", "status", "latency", "TTFT", "chars", "tokens", "cost", "release"]
    assert all(name in head for name in columns)
    shown = ["assistant", "tiny", "ok", "346 ms", "79 ms", "99", "11/22", "$0.000123", "f00dfeed"]
    assert all(each in first for each in shown)
    assert "error (interrupted)" in second
    assert "$" not in second, "an unknown price is a dash, not zero"


def test_no_records_are_said(run: Run, api: AdminApi) -> None:
    """An empty list is said in words, and is nothing at all with --json."""
    api.answers["GET", "/api/v1/records"] = paged([])
    assert "no records match" in run("records", "--url", api.url)[2]
    assert run("records", "--url", api.url, "--json")[:2] == (0, "")


def test_a_record_that_is_not_there(run: Run, api: AdminApi) -> None:
    """Nothing is printed, the error says what to do, all its members are passed on, and the exit is 1."""
    said = {"message": "no record 'NOPE'; …", "type": "t_error", "code": "not_found", "param": "id"}
    api.answers["GET", "/api/v1/records/NOPE"] = lambda _params: (404, {"error": said})
    assert run("records", "--url", api.url, "--id", "NOPE") == (1, "", "airboss: no record 'NOPE'; …\n")
    code, out, err = run("records", "--url", api.url, "--id", "NOPE", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err) == {"error": said}
    asked = len(api.asked)
    for odd in ("", ".", "..", "../.."):
        code, out, err = run("records", "--url", api.url, "--id", odd)
        assert (code, out) == (1, "")
        assert "`airboss records` lists" in err
    assert len(api.asked) == asked


@pytest.mark.parametrize(
    "answer", [b"<html>", {"error": 5}, {"error": {}}, {"error": None}, [], {"error": "x"}]
)
def test_an_error_of_another_shape(run: Run, api: AdminApi, answer: Any) -> None:
    """What does not say its error in our shape is told by its status."""
    api.answers["GET", "/api/v1/records/x"] = lambda _params: (502, answer)
    code, out, err = run("records", "--url", api.url, "--id", "x")
    assert (code, out) == (1, "")
    assert "answered 502 Bad Gateway" in err


def test_one_record_in_full(run: Run, api: AdminApi) -> None:
    """--id shows every field and the bodies; with --json the record itself."""
    made = record(1, request={"messages": [{"role": "user", "content": "grüß"}]})
    api.answers["GET", "/api/v1/records/x"] = made
    code, out, _ = run("records", "--url", api.url, "--id", "x")
    assert code == 0
    assert all(name in out for name in made if name != "attempts")
    assert "attempt 1" in out
    assert "grüß" in out
    assert "not kept" in out
    assert not re.search(r"\b(True|False|None)\b|\{'", out), "no words of Python's"
    assert json.loads(run("records", "--url", api.url, "--id", "x", "--json")[1]) == made


def test_one_record_says_what_was_said_in_attempts_that_failed(run: Run, api: AdminApi) -> None:
    """Below the attempt whose it is, on one line; of one that answered there is nothing to say."""
    words = ["You exceeded your current quota", "half\nof\x1b[2Jit", "of nobody"]
    told = [{"attempt": number, "message": each} for number, each in enumerate(words, 1)]
    attempts = [{"provider": "a", "error_type": failed} for failed in ("x", "y", None)]
    made = record(1, attempts=attempts, response={"choices": [], "failed_attempts": [*told, 7]})
    api.answers["GET", "/api/v1/records/x"] = made
    code, out, _ = run("records", "--url", api.url, "--id", "x")
    assert code == 0
    lines = [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("  message ")]
    assert lines == [words[0], json.dumps(words[1])]
    assert out.index("attempt 2") < out.index(lines[1]) < out.index("attempt 3")


def test_one_record_says_who_scored_it_and_why(run: Run, api: AdminApi) -> None:
    """The record has the values alone; what a person wrote cannot steer a terminal."""
    api.answers["GET", "/api/v1/records/x"] = record(1, scores={"helpfulness": 0.0, "tone": None})
    said = {"name": "helpfulness", "value": 0.0, "source": "feedback", "by": "app", "user": "ann"}
    said |= {"comment": "the wrong parcel\x1b[2J", "unscored": None}
    tone = {"name": "tone", "value": None, "source": "scorer", "by": "judge", "user": None, "comment": None}
    answer = {"scores": [said, tone | {"unscored": "no verdict"}]}
    api.answers["GET", "/api/v1/records/x/scores"] = answer
    code, out, _ = run("records", "--url", api.url, "--id", "x")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("score ")]
    assert lines == [
        'score helpfulness 0.0, feedback of ann by app: "the wrong parcel\\u001b[2J"',
        "score tone unscored, scorer by judge: no verdict",
    ]


def test_one_record_is_shown_to_a_role_that_may_not_read_what_people_write(run: Run, api: AdminApi) -> None:
    """As the console shows it: with the values of its scores. Any other refusal is told."""
    api.answers["GET", "/api/v1/records/x"] = record(1, scores={"helpfulness": 0.0})
    error = {"message": "it needs the role reader", "code": "role_too_low"}
    api.answers["GET", "/api/v1/records/x/scores"] = (403, {"error": error})
    code, out, err = run("records", "--url", api.url, "--id", "x")
    assert (code, err) == (0, "")
    assert '{"helpfulness": 0.0}' in out
    assert "\nscore " not in out
    api.answers["GET", "/api/v1/records/x/scores"] = (403, {"error": {**error, "code": "other"}})
    assert run("records", "--url", api.url, "--id", "x")[0] != 0


def test_a_record_that_is_not_there_is_a_no(run: Run, api: AdminApi) -> None:
    """An unknown id ends with the server's words and exit code 1."""
    code, out, err = run("records", "--url", api.url, "--id", "x")
    assert (code, out, err) == (1, "", "airboss: no /api/v1/records/x here\n")


def test_a_name_that_is_not_there_is_a_wrong_call(run: Run, api: AdminApi) -> None:
    """Unlike a record, which may yet come, it will not be there by itself."""
    code, out, err = run("release", "show", "x", "--url", api.url)
    assert (code, out, err) == (2, "", "airboss: no /api/v1/releases/x here\n")


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (("records",), "--user"),
        (("records",), "--search"),
        (("records", "--by", "model"), "--error-type"),
        (("records", "export", "x.parquet"), "--user"),
    ],
)
def test_an_empty_filter_is_not_everybodys_calls(
    run: Run, api: AdminApi, verb: tuple[str, ...], option: str
) -> None:
    """Of a variable that is not set: nothing is asked, and nothing leaves."""
    code, out, err = run(*verb, option, "", "--url", api.url)
    assert (code, out, api.asked) == (2, "", [])
    assert f"{option} is empty; leave it out where all are meant" in err


def test_a_status_that_is_none_is_a_wrong_call(run: Run, api: AdminApi) -> None:
    """A value that no record has is refused before anything is asked."""
    code, _, err = run("records", "--url", api.url, "--status", "good")
    assert code == 2
    assert "'good'" in err
    assert api.asked == []


def followed(api: AdminApi, expected: list[dict[str, Any]]) -> str:
    """`--follow` prints these, and nothing more until Ctrl-C, which is no error; what it said beside them."""
    command = [sys.executable, "-m", "airboss.cli.main", "records", "--follow", "--json", "--url", api.url]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline())["id"] for _ in expected]
        assert lines == [each["id"] for each in expected]
        process.send_signal(2)
        rest, err = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    return str(err)


def test_follow_goes_on_with_new_ones(api: AdminApi) -> None:
    """--follow prints the newest, oldest first, then each new one once, until Ctrl-C, which is no error."""
    first, second, third = record(1), record(2), record(3)

    def answer(params: dict[str, str]) -> dict[str, Any]:
        if "after" not in params:
            return {"records": [second, first], "next": None}
        newer = [third] if params["after"] < third["id"] else []
        return {"records": newer, "next": newer[-1]["id"] if newer else params["after"]}

    api.answers["GET", "/api/v1/records"] = answer
    assert followed(api, [first, second, third]) == ""


def test_follow_outlasts_a_store_that_is_away(api: AdminApi) -> None:
    """It says so once, and goes on from where it was."""
    first, second = record(1), record(2)
    away: list[Any] = [(503, {"error": {"message": "the record store is away"}})] * 2

    def answer(params: dict[str, str]) -> Any:
        if "after" not in params:
            return {"records": [first], "next": None}
        if away:
            return away.pop()
        newer = [second] if params["after"] < second["id"] else []
        return {"records": newer, "next": newer[-1]["id"] if newer else params["after"]}

    api.answers["GET", "/api/v1/records"] = answer
    assert followed(api, [first, second]).count("the record store is away") == 1


def test_follow_shows_each_once_where_a_clock_was_ahead(api: AdminApi) -> None:
    """The newest may have been stored before others that are shown: going on from it shows these no more."""
    ahead, known, new = record(9), record(1), record(2)

    def answer(params: dict[str, str]) -> dict[str, Any]:
        if "after" not in params:
            return {"records": [ahead, known], "next": None}
        stored = [ahead["id"], known["id"], new["id"]]
        newer = [known, new][stored.index(params["after"]) :]
        return {"records": newer, "next": stored[-1]}

    api.answers["GET", "/api/v1/records"] = answer
    assert followed(api, [known, ahead, new]) == ""


def test_a_reader_that_goes_away_is_no_trace(api: AdminApi) -> None:
    """`airboss records --json | head -1` prints no trace."""
    many = [record(number) for number in range(20_000, 0, -1)]
    api.answers["GET", "/api/v1/records"] = lambda _params: {"records": many, "next": None}
    command = f"{sys.executable} -m airboss.cli.main records --json --url {api.url} --limit 10000 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["id"] == many[0]["id"]
    assert done.stderr == ""


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(number: int, depth: int, **fields: Any) -> dict[str, Any]:
    """A row of a trace's tree, as the API has it."""
    given = {"id": f"s{number}", "name": f"span {number}", "kind": "other", "depth": depth, "status": "ok"}
    times = {"started_at": f"2026-11-23T12:00:00.{number:03}000Z", "duration_ms": 12.0 * number}
    return given | times | {"record": None} | fields


def trace_of(*rows: dict[str, Any]) -> Any:
    """An answer that pages through a tree, two rows at a time."""

    def answer(params: dict[str, str]) -> dict[str, Any]:
        ids = [row["id"] for row in rows]
        start = ids.index(params["after"]) + 1 if "after" in params else 0
        page = list(rows[start : start + 2])
        more = start + 2 < len(rows)
        fields = {
            "trace_id": TRACE,
            "started_at": "2026-11-23T12:00:00Z",
            "duration_ms": 99.0,
            "spans": len(rows),
        }
        return fields | {"rows": page, "next": page[-1]["id"] if more else None}

    return answer


def test_a_trace_is_a_tree(run: Run, api: AdminApi) -> None:
    """Every page of it: spans moved in below their parents, with their times, errors and records."""
    rows = [
        span(1, 0, name="plan\x1b[31m\ner", kind="agent"),
        span(2, 1, kind="llm", record="r-2", status="error"),
        span(3, 900),
    ]
    api.answers["GET", f"/api/v1/traces/{TRACE}"] = trace_of(*rows)
    code, out, err = run("records", "--url", api.url, "--trace", TRACE.upper())
    assert (code, err) == (0, "")
    head, agent, call, deep = out.splitlines()
    assert head.split()[:2] == ["trace", TRACE]
    assert head.endswith("3 spans  99 ms")
    assert agent.split() == ["1", "ms", "12", "ms", "plan\ufffd[31m\ufffder", "agent"]
    assert call.split() == ["2", "ms", "24", "ms", "span", "2", "llm", "error", "r-2"]
    assert call.index("span 2") == agent.index("plan") + 2
    assert len(deep) < 120
    code, out, _ = run("records", "--url", api.url, "--trace", TRACE, "--json")
    found = json.loads(out)
    assert (found["rows"], found["next"], found["spans"]) == (rows, None, 3)


@pytest.mark.parametrize(
    "more", [["--trace", "x"], ["--trace", "../../keys"], ["--trace", TRACE, "--user", "ann"]]
)
def test_a_trace_is_asked_for_by_its_id_alone(run: Run, api: AdminApi, more: list[str]) -> None:
    """Anything else is a wrong call, and asks nobody."""
    code, _, err = run("records", "--url", api.url, *more)
    assert code == 2
    assert "--trace" in err
    assert api.asked == []
    assert run("records", "--url", api.url, "--trace", TRACE)[0] == 1


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (["right=yes"], {"name": "right", "value": True}),
        (["right=False"], {"name": "right", "value": False}),
        (["stars=4"], {"name": "stars", "value": 4}),
        (["tone=rude", "--comment", "a=b"], {"name": "tone", "value": "rude", "comment": "a=b"}),
        (["sum=1+1=2"], {"name": "sum", "value": "1+1=2"}),
        (["right", "--undo"], {"name": "right", "value": None}),
        (["right=no", "--correction", "30 days"], {"name": "right", "value": False, "correction": "30 days"}),
        (["right=yes", "--correction", ""], {"name": "right", "value": True, "correction": ""}),
    ],
)
def test_a_judgement_is_sent_as_it_is_written(run: Run, api: AdminApi, given: list[str], body: Any) -> None:
    """Yes and no, numbers, labels; what stands then is told in words and in JSON."""
    stands = None if body["value"] is None else {"name": body["name"], "value": body["value"], "by": "ann"}
    api.answers["POST", "/api/v1/records/r1/scores"] = {"score": stands}
    code, out, err = run("records", "score", "r1", *given, "--url", api.url)
    assert (code, err) == (0, "")
    assert "has no judgement 'right' by you" in out if stands is None else "says ann" in out
    assert api.asked[-1][3] == body
    code, out, _ = run("records", "score", "r1", *given, "--url", api.url, "--json")
    assert (code, json.loads(out)) == (0, {"score": stands})


def test_a_correction_that_stands_is_told(run: Run, api: AdminApi) -> None:
    """Beside the judgement; and by itself once that is taken back."""
    stands = {"name": "right", "value": False, "by": "ann"}
    answer = {"score": stands, "correction": {**stands, "name": "correction", "value": "given"}}
    api.answers["POST", "/api/v1/records/r1/scores"] = answer
    _, out, _ = run("records", "score", "r1", "right=no", "--correction", "30 days", "--url", api.url)
    assert out == "right of r1 is no, says ann; your correction of it stands\n"
    api.answers["POST", "/api/v1/records/r1/scores"] = {**answer, "score": None}
    _, out, _ = run("records", "score", "r1", "right", "--undo", "--url", api.url)
    assert out == "r1 has no judgement 'right' by you, nor by anybody else; your correction of it stands\n"
    api.answers["POST", "/api/v1/records/r1/scores"] = {"score": None, "others": ["bob", "key app"]}
    _, out, _ = run("records", "score", "r1", "correction", "--undo", "--url", api.url)
    assert out == "r1 has no judgement 'correction' by you, but by bob and key app\n"


@pytest.mark.parametrize(
    "given",
    [["right"], ["right="], ["right=nan"], ["right=yes", "--undo"], ["right", "--undo", "--comment", "x"]],
)
def test_what_is_no_judgement_is_not_sent(run: Run, api: AdminApi, given: list[str]) -> None:
    """Exit 2, in words, before anything is asked."""
    code, _, err = run("records", "score", "r1", *given, "--url", api.url)
    assert (code, err != "", api.asked) == (2, True, [])


def test_who_finds_nothing_of_a_deployment_hears_whether_it_is_served(run: Run, api: AdminApi) -> None:
    """A name may be misspelt; one that is served, or calls that are found, need no such word."""
    api.answers["GET", "/api/v1/records"] = paged([])
    api.answers["GET", "/api/v1/deployments"] = {"deployments": [{"name": "support"}]}
    for more in ((), ("--json",), ("--search", "refund")):
        code, out, err = run("records", "--url", api.url, "--deployment", "suport", *more)
        assert (code, out, err.startswith("airboss: no record")) == (0, "", True)
        assert "no deployment 'suport' is served now; did you mean \"support\"?" in err
    assert "is served" not in run("records", "--url", api.url, "--deployment", "support")[2]
    api.answers["GET", "/api/v1/records"] = paged([record(1)])
    assert run("records", "--url", api.url, "--deployment", "suport")[2] == ""
