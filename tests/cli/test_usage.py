"""`airboss records --by` as a table and a file: what all groups used together, and what a dash means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

TIMES = {"since": "2026-11-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}


def row(requests: int, *group: str | None, start: str | None = None) -> dict[str, Any]:
    """What a group used."""
    measured = ("error_rate", "latency_p50_ms", "latency_p95_ms", "ttft_p95_ms", "tokens_per_s", "cost_usd")
    made: dict[str, Any] = dict.fromkeys(measured) | {"input_tokens": 1, "output_tokens": 2, "users": 1}
    return made | {"group": group, "start": start, "requests": requests, "approximate": False}


def answering(api: AdminApi, rows: list[Any], totals: list[Any], *, per: str | None = None) -> None:
    """Groups where these are asked for, else all together."""

    def answer(params: dict[str, str]) -> Any:
        by = [each for each in params.get("group_by", "").split(",") if each]
        more = {"group_by": by, "against": None, "per": per}
        return TIMES | more | {"rows": rows if by else totals}

    api.answers["GET", "/api/v1/usage"] = answer


def test_a_table_ends_in_what_all_used(run: Run, api: AdminApi) -> None:
    """Asked of the same calls and times without the limit, which leaves groups out; JSON has groups alone."""
    answering(api, [row(7, "a"), row(5, None)], [row(20)])
    flags = ("--by", "team", "--user", "ann", "--limit", "2", "--url", api.url)
    code, out, _ = run("records", *flags)
    lines = [line.split() for line in out.splitlines()]
    assert (code, [line[:2] for line in lines[1:4]]) == (0, [["a", "7"], ["-", "5"], ["total", "20"]])
    assert lines[4:] == [["team", "-:", "calls", "by", "keys", "that", "are", "in", "none", "now"]]
    assert api.asked[1][2] == {"user": "ann", **TIMES}
    code, out, _ = run("records", *flags, "--json")
    assert ([json.loads(line)["requests"] for line in out.splitlines()], len(api.asked)) == ([7, 5], 3)


def test_each_period_has_its_sum(run: Run, api: AdminApi) -> None:
    """Below its groups; one that has a single group needs none."""
    days = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    rows = [row(7, "a", "x", start=days[0]), row(5, "b", "y", start=days[0]), row(3, "a", "x", start=days[1])]
    answering(api, rows, [row(12, start=days[0]), row(3, start=days[1])], per="day")
    _, out, _ = run("records", "--by", "team,model", "--per", "day", "--url", api.url)
    lines = [line.split() for line in out.splitlines()[1:]]
    first, second = (day[:10] for day in days)
    wanted = [[first, "a", "x"], [first, "b", "y"], [first, "total", "12"], [second, "a", "x"]]
    assert [line[:3] for line in lines] == wanted


def test_a_file_without_rows_says_so(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """It is written all the same; one with a row says nothing more."""
    file = str(tmp_path / "used.csv")
    for content, told in ((b"team,requests\r\n", True), (b"team,requests\r\na,1\r\n", False)):
        api.answers["GET", "/api/v1/usage"] = content
        code, _, err = run("records", "--by", "team", "--out", file, "--url", api.url)
        assert (code, Path(file).read_bytes(), "0 rows" in err) == (0, content, told)
