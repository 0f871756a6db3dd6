"""Scorers as they are written down."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.contains import Contains
from airboss.evaluations.scorers.cost import Cost
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.json_schema import JsonSchema
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.length import Length
from airboss.evaluations.scorers.llm_judge import JudgeScorer, LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PairwiseScorer
from airboss.evaluations.scorers.python_function import PythonFunction
from airboss.evaluations.scorers.refusal import Refusal
from airboss.evaluations.scorers.regex import Regex
from airboss.evaluations.scorers.spec import KINDS, Spec, open_scorer, read_spec, spec_from
from airboss.evaluations.scorers.tool_calls import ToolCalls
from tests.evaluations.support import JUDGE, FakeCaller

WRITTEN: list[tuple[str, Spec]] = [
    ("exact", Exact()),
    ("contains:yes", Contains(texts=("yes",))),
    (r"regex:^\d+:\d$", Regex(pattern=r"^\d+:\d$")),
    ("json_schema:s.json", JsonSchema(schema={"type": "object"})),
    ("length:words", Length(unit="words")),
    ("latency:250", Latency(most_ms=250.0)),
    ("cost:0.01", Cost(most_usd=0.01)),
    ("refusal", Refusal()),
    ("tool_calls:any", ToolCalls(arguments="any")),
    ("python:tone.py:score", PythonFunction(function="tone.py:score")),
    ("llm_judge:grader", LlmJudge(deployment="grader")),
    ("pairwise_judge:grader", PairwiseJudge(deployment="grader")),
    ("polite=contains:a=b", Contains(name="polite", texts=("a=b",))),
    ('{"kind": "exact", "name": "answer", "ignore_case": true}', Exact(name="answer", ignore_case=True)),
]


def load(path: str) -> str:
    """The text of a schema's file."""
    return '{"type": "object"}' if path == "s.json" else "{"


@pytest.mark.parametrize(("text", "spec"), WRITTEN)
def test_every_kind_can_be_written_on_a_command_line(text: str, spec: Spec) -> None:
    """The short form and the JSON form give a spec, and it survives JSON."""
    assert read_spec(text, load=load) == spec
    assert msgspec.json.decode(msgspec.json.encode(spec), type=Spec) == spec


def test_every_kind_is_tested() -> None:
    """The table of kinds and the examples above name the same."""
    kinds = {msgspec.to_builtins(spec)["kind"] for _, spec in WRITTEN}
    assert kinds == set(KINDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exakt", "did you mean 'exact'"),
        ("exact:x", "exact takes nothing after"),
        ("regex:", "regex takes pattern after"),
        ("regex:(", "no pattern"),
        ("length:miles", "length"),
        ("latency:soon", "latency"),
        ("json_schema:broken.json", "broken.json is no JSON"),
        ('{"kind": "exact"', "no JSON object"),
        ('{"kind": "exact", "case": 1}', "unknown field"),
        ('{"name": "x"}', "of kind None"),
        ("llm_judge", "deployment"),
    ],
)
def test_what_is_no_scorer_is_refused(text: str, said: str) -> None:
    """With what is wrong, and the nearest kind."""
    with pytest.raises(WrongCall, match=said):
        read_spec(text, load=load)
    with pytest.raises(WrongCall, match="kind 3"):
        spec_from({"kind": 3})


def test_opening(tmp_path: Path) -> None:
    """Judges get the release that their deployment serves, files are looked for in the folder given, and the
    rest are scorers already."""
    (tmp_path / "tone.py").write_text("def score(item, answer):\n    return 1.0\n")
    asked: list[str] = []

    def resolve(deployment: str) -> Target:
        asked.append(deployment)
        return JUDGE

    opened = {
        text: open_scorer(spec, caller=FakeCaller(lambda _: ""), resolve=resolve, folder=tmp_path)
        for text, spec in WRITTEN
    }
    assert asked == ["grader", "grader"]
    assert isinstance(opened["llm_judge:grader"], JudgeScorer)
    assert isinstance(opened["pairwise_judge:grader"], PairwiseScorer)
    assert opened["exact"] == Exact()
    assert opened["python:tone.py:score"].name == "python"
