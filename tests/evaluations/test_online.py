"""Live calls as scorers see them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.config import ScoringConfig, parse_config
from airboss.domain.errors import ConfigError, WrongCall
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.online import (
    OnlineScorer,
    check_scoring,
    drawn,
    judges_it,
    open_scorers,
    score,
    score_id,
    specs_of,
)
from airboss.evaluations.ports import Answer, Call, Target
from tests.store.samples import call_id, record

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SCHEMA = {"type": "object", "required": ["a"]}
CHAT = {"messages": [{"role": "user", "content": "how much?"}]}


class Judge:
    """A caller that answers as a judge who gives the best grade."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def call(self, call: Call) -> Answer:
        """The best grade."""
        self.calls.append(call)
        return Answer(text='{"reasoning":"fine","grade":5}')


def opened(*scorers: Any, judge: Judge | None = None) -> tuple[OnlineScorer, ...]:
    """Scorers, ready."""
    return open_scorers(
        specs_of(ScoringConfig(scorers=scorers)),
        caller=judge or Judge(),
        resolve=lambda name: Target(deployment=name, release="f" * 64),
        folder=Path(),
    )


def call(text: str = "4 euro", *, request: Any = None, **fields: Any) -> InferenceRecord:
    """A recorded call that was answered with a text."""
    import msgspec  # noqa: PLC0415 - only to change a record

    response = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    given = {"request": request if request is not None else CHAT, "response": response} | fields
    return msgspec.structs.replace(record(1), **given)


def said(scorer: Any, found: InferenceRecord, judge: Judge | None = None) -> Score:
    """The score that one scorer gives a call."""
    (online,) = opened(scorer, judge=judge)
    return asyncio.run(score(online, found, now=lambda: NOW))


def test_scores_of_a_call() -> None:
    """Each scorer judges the recorded answer; a score names its record, its scorer and its time."""
    found = said("refusal", call("I am sorry, but I cannot help with that."))
    assert (found.value, found.subject_id, found.source, found.by) == (True, call_id(1), "scorer", "refusal")
    assert (found.at, found.id) == (NOW, score_id(call_id(1), "refusal"))
    assert said("regex:^\\d", call()).value is True
    assert said({"kind": "contains", "texts": ["euro"]}, call()).value is True
    assert said("length:words", call()).value == 2.0
    assert said({"kind": "latency", "most_ms": Decimal("99.5")}, call()).value is False
    assert said("cost", call()).value == pytest.approx(0.000123)
    assert said({"kind": "json_schema", "schema": SCHEMA}, call('{"a": 1}')).value is True


def test_a_completion_is_judged_as_a_chat_is() -> None:
    """Its text is the choice's, its question the prompt."""
    judge = Judge()
    completion = call(request={"prompt": "how much?"}, response={"choices": [{"text": "5 euro"}]})
    assert said("regex:^5", completion).value is True
    said("llm_judge:grader", completion, judge)
    assert "how much?" in str(judge.calls[0].input)


def test_a_schema_that_the_request_asked_for_is_judged_by() -> None:
    """`json_schema` alone; a call that asked for none is not scored at all, rather than unscored."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    asked = call('{"b": 1}', request=CHAT | {"response_format": wanted})
    assert said("json_schema", asked).value is False
    (online,) = opened("json_schema")
    assert judges_it(online.spec, asked)
    assert not judges_it(online.spec, call())


def test_a_judge_is_called_with_what_was_asked_and_answered() -> None:
    """Through the caller given, at the release that its deployment serves."""
    judge = Judge()
    found = said({"kind": "llm_judge", "deployment": "grader", "name": "tone"}, call(), judge)
    assert (found.name, found.value, found.comment) == ("tone", 1.0, "fine")
    (asked,) = judge.calls
    assert asked.target == Target(deployment="grader", release="f" * 64)
    assert "how much?" in str(asked.input)
    assert "4 euro" in str(asked.input)


def test_what_was_not_kept_is_unscored() -> None:
    """Without bodies only scorers of time and money have something to judge."""
    bare = call(request=None, response=None)
    found = said("refusal", bare)
    assert found.value is None
    assert "not kept" in str(found.unscored)
    assert said("latency", bare).value == 100.0
    failed = {"failed_attempts": [{"attempt": 1, "message": "no"}]}
    assert said("refusal", call(response=failed)) == said("refusal", call(response=None))


def test_strange_bodies_are_data() -> None:
    """Whatever stands where an answer should be, the scorer says something and never raises."""
    responses: tuple[Any, ...] = (
        "text",
        [],
        {"choices": 1},
        {"choices": [1]},
        {"choices": [{"message": {"content": 1}}]},
    )
    for response in responses:
        for request in ("text", [1], {"messages": "x"}, {"messages": [1]}):
            found = said("length", call(request=request, response=response))
            assert found.value == 0.0


def test_the_sample_is_the_records_own() -> None:
    """The same calls are drawn each time; a larger sample holds the smaller one; the share is about right."""
    ids = [call_id(number) for number in range(5_000)]
    small = {each for each in ids if drawn(each, 0.1)}
    assert small == {each for each in ids if drawn(each, 0.1)}
    assert small < {each for each in ids if drawn(each, 0.3)}
    assert 400 < len(small) < 600
    assert all(drawn(each, 1.0) for each in ids[:100])


def test_the_id_of_a_score_follows_from_its_record_and_name() -> None:
    """A UUIDv7 with the record's time; another record or name has another id."""
    ids = {score_id(call_id(number), name) for number in range(1_000) for name in ("a", "b")}
    assert len(ids) == 2_000
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(each) for each in ids)
    assert score_id(call_id(7), "a")[:13] == call_id(7)[:13]


@pytest.mark.parametrize(
    ("scorers", "words"),
    [
        (["exact"], "a live call has none"),
        (["tool_calls"], "a live call has none"),
        (["contains"], "give it `texts`"),
        (["regex"], "give it `pattern`"),
        (["pairwise_judge:grader"], "compares two answers"),
        (["length", "length:words"], "two scorers are called 'length'"),
        (["lenght"], "did you mean 'length'?"),
        (["json_schema:answer.json"], "names a file"),
        ([{"kind": "length", "name": "a<b"}], "a scorer is called 'a<b'"),
        ([{"kind": "length", "many": 3}], "many"),
    ],
)
def test_scorers_that_cannot_judge_live_calls_are_refused(scorers: list[Any], words: str) -> None:
    """When the configuration is applied, not at the first call."""
    with pytest.raises(WrongCall, match=re.escape(words)):
        specs_of(ScoringConfig(scorers=tuple(scorers)))


def test_scorers_stand_in_the_configuration_as_words_or_tables() -> None:
    """Both forms in one list; numbers come as they were written."""
    text = """
    [providers.p]
    kind = "openai-compatible"
    base_url = "http://127.0.0.1:9/v1"
    [models.m]
    provider = "p"
    model = "m"
    [deployments.support]
    model = "m"
    scoring = { sample = 0.25, scorers = ["refusal", { kind = "latency", most_ms = 1500.5 }] }
    """
    scoring = parse_config(text, source="x").deployments["support"].scoring
    assert scoring is not None
    assert (scoring.sample, scoring.judge_per_minute) == (0.25, 60)
    _, latency = specs_of(scoring)
    assert getattr(latency, "most_ms", None) == 1500.5


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        ('"exact"', "x.toml: deployments.support.scoring: the scorer 'exact'"),
        ('"llm_judge:nobody"', "'llm_judge' asks deployment 'nobody', which is not there"),
        ('"python:tone.py:score"', "tone.py"),
    ],
)
def test_what_could_not_be_used_is_refused_when_it_is_applied(
    tmp_path: Path, scorer: str, words: str
) -> None:
    """A configuration error that names the deployment."""
    text = f"""
    [providers.p]
    kind = "openai-compatible"
    base_url = "http://127.0.0.1:9/v1"
    [models.m]
    provider = "p"
    model = "m"
    [deployments.support]
    model = "m"
    scoring = {{ scorers = [{scorer}] }}
    """
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_scoring(parse_config(text, source="x"), tmp_path, source="x.toml")


def test_a_scorer_that_cannot_be_opened_leaves_calls_unscored() -> None:
    """Its file may go after it was applied: that is said of each call, and others are scored."""
    scoring = ScoringConfig(scorers=("python:tone.py:score", "refusal"))
    broken, refusal = open_scorers(
        specs_of(scoring),
        caller=Judge(),
        resolve=lambda name: Target(deployment=name, release="f" * 64),
        folder=Path(),
    )
    found = asyncio.run(score(broken, call(), now=lambda: NOW))
    assert found.value is None
    assert "tone.py" in str(found.unscored)
    assert asyncio.run(score(refusal, call(), now=lambda: NOW)).value is False
