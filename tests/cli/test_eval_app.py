"""`airboss eval run --answers`: an app of your own, which is no release."""

from __future__ import annotations

from pathlib import Path

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_eval import TOTALS, evaluation, ready


def test_answers_of_an_app_are_sent_with_its_name(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """In place of a release, without a deployment; one without the other is refused, and so is no UTF-8."""
    found = evaluation()
    found["plan"]["b"] = found["summary"]["b"] = {"deployment": "", "release": "c" * 64, "name": "mine"}
    found["not_judged"] = ["exact"]
    found["report"]["b"] = {**TOTALS, "errors": 1, "cost_unknown": 60}
    ready(api, found)
    file = tmp_path / "said.jsonl"
    file.write_text('{"item": "q", "answer": "é"}\n')
    line = ("eval", "run", "--dataset", "golden", "--scorer", "exact", "--url", api.url)
    code, out, _ = run(*line, "--answers", str(file), "--name", "mine")
    assert code == 0
    sent = api.asked[0][3]
    assert sent["answers"] == {"name": "mine", "jsonl": file.read_text(), "source": str(file)}
    assert (sent["deployment"], sent["release"], sent["baseline"]) == (None, None, None)
    assert "B app mine cccccccc" in out
    assert "not judged" in out
    assert "by exact nobody is judged" in out
    assert "B: 60 answers, 1 error, 60 answers of unknown price" in out
    assert "run it again" not in out
    for alone in (("--answers", str(file)), ("--name", "mine")):
        code, _, said = run(*line, *alone)
        assert (code, "--answers FILE and --name NAME belong together" in said) == (2, True)
    file.write_bytes(b'{"item": "q"}\n\xff')
    code, _, said = run(*line, "--answers", str(file), "--name", "mine")
    assert (code, "line 2: not UTF-8" in said) == (2, True)
