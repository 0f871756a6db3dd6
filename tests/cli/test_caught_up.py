"""Records that are asked for right after calls: those are among them, or it is said that they may not be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import CAUGHT_UP, STATUS, AdminApi, record
from tests.cli.conftest import Run

BEGAN = datetime(2026, 12, 1, tzinfo=UTC)
QUESTIONS = [
    ("--sort", "slowest"),
    ("--user", "ann"),
    ("--json",),
    ("--by", "model"),
    ("--by", "model", "--json"),
    ("--by", "model", "--out", "used.csv"),
    ("--id", "x", "--json"),
]
"""Each asks for calls that may have ended just now."""


def waiting(since_s: float, now_s: float, *, store_up: bool = True) -> dict[str, Any]:
    """What the status says at `now_s` where the oldest that waits has done so since then."""
    oldest = BEGAN + timedelta(seconds=since_s)
    journal = {"unmoved_bytes": 12_300, "oldest_unmoved_at": oldest.isoformat()}
    return {"journal": {**journal, "lag_s": now_s - since_s, "store_up": store_up}}


def told(api: AdminApi, *statuses: dict[str, Any]) -> list[str]:
    """Have these told one after the other, the last from then on; returns the paths that are asked for."""
    asked: list[str] = []
    left = list(statuses)

    def path(name: str, answer: Any) -> Callable[[dict[str, str]], Any]:
        def answered(_: dict[str, str]) -> Any:
            asked.append(name)
            return answer

        return answered

    def status(_: dict[str, str]) -> Any:
        asked.append("status")
        return left.pop(0) if len(left) > 1 else left[0]

    used = {"group_by": ["model"], "rows": [], "against": None, "per": None}
    api.answers[STATUS] = status
    api.answers["GET", "/api/v1/records"] = path("records", {"records": [record(1)], "next": None})
    api.answers["GET", "/api/v1/records/x"] = path("records", record(1))
    api.answers["GET", "/api/v1/usage"] = path("records", used)
    return asked


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_what_waits_is_waited_for(
    run: Run, api: AdminApi, question: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked for before it is there, and nothing said of it."""
    monkeypatch.chdir(tmp_path)
    asked = told(api, waiting(0, 1), waiting(0, 2), CAUGHT_UP)
    code, _, err = run("records", *question, "--url", api.url)
    assert (code, asked) == (0, ["status", "status", "status", "records"])
    assert "journal" not in err


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["table", "json"])
def test_it_is_waited_for_in_bounds(run: Run, api: AdminApi, flags: tuple[str, ...]) -> None:
    """What is still under way then is told beside what there is."""
    asked = told(api, waiting(0, 3))
    code, out, err = run("records", *flags, "--url", api.url)
    assert (code, asked[-1], record(1)["id"] in out, "journal" in out) == (0, "records", True, False)
    said = "12.3 KB of journal wait, the oldest for 3000 ms: calls that ended since may be missing here"
    assert err == f"airboss: {said}\n"


def test_what_comes_meanwhile_is_not_waited_for(run: Run, api: AdminApi) -> None:
    """With calls that never stop something always waits. What was there at first has gone once what was there
    when its oldest had gone has gone too: only then is a later one's time told."""
    asked = told(api, waiting(0, 1), waiting(0, 2), waiting(2.5, 3), waiting(2.5, 4), waiting(4.5, 5))
    code, _, err = run("records", "--json", "--url", api.url)
    assert (code, err, asked) == (0, "", [*["status"] * 5, "records"])


def test_a_store_that_is_away_is_not_waited_for(run: Run, api: AdminApi) -> None:
    """It is told at once."""
    asked = told(api, waiting(0, 3, store_up=False))
    code, _, err = run("records", "--json", "--url", api.url)
    assert (code, "may be missing here" in err, asked) == (0, True, ["status", "records"])


@pytest.mark.parametrize("flags", [("--until", "2h"), ("--until", "2026-11-01")], ids=" ".join)
def test_of_what_is_long_ago_nothing_waits(run: Run, api: AdminApi, flags: tuple[str, ...]) -> None:
    """It is asked for at once; what may have begun just now is not."""
    asked = told(api, CAUGHT_UP)
    assert run("records", *flags, "--url", api.url)[0] == 0
    assert asked == ["records"]
    assert run("records", "--until", "1m", "--url", api.url)[0] == 0
    assert asked == ["records", "status", "records"]


def test_who_cannot_say_what_waits_is_asked_all_the_same(run: Run, api: AdminApi) -> None:
    """What is wrong shows at the question itself."""
    asked = told(api, {"journal": {}})
    assert run("records", "--json", "--url", api.url)[::2] == (0, "")
    del api.answers[STATUS]
    assert run("records", "--json", "--url", api.url)[::2] == (0, "")
    assert asked == ["status", "records", "records"]


def test_an_export_waits_too(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """A file of calls has those that have just ended."""
    asked = told(api, waiting(0, 1), CAUGHT_UP)
    api.answers["GET", "/api/v1/transfer"] = {"rows": [], "next": None}
    code, _, err = run("records", "export", str(tmp_path / "a.parquet"), "--url", api.url)
    assert (code, err, asked) == (0, "", ["status", "status"])


@pytest.mark.parametrize(
    "verb",
    [
        ("report",),
        ("keys", "list"),
        ("keys", "tags"),
        ("keys", "teams"),
        ("dataset", "add", "d", "--record", "x"),
        ("dataset", "add", "d", "--from-records"),
    ],
    ids=" ".join,
)
def test_what_is_made_of_records_waits_too(run: Run, api: AdminApi, verb: tuple[str, ...]) -> None:
    """Sums, evidence and datasets have the calls that have just ended."""
    asked = told(api, waiting(0, 1), waiting(0, 2), CAUGHT_UP)
    run(*verb, "--url", api.url)
    assert asked == ["status"] * 3
    assert len(api.asked) == 1
