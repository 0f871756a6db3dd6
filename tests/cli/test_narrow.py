"""Tables in a terminal of 80 or 60 columns: what is shown is whole, and what is not there is named."""

from __future__ import annotations

import pytest

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
