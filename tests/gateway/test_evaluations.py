"""Scores that apps send by OpenTelemetry, in spans and in log records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.governance.policies import policy_of
from airboss.store.evaluated import Evaluated, subject_of
from airboss.telemetry.otlp_bounds import SPANS_MAX
from airboss.testing import FakeProvider
from tests.support.gateway import Gateway, deployment
from tests.support.otlp import (
    JSON,
    PROTOBUF,
    TRACE,
    as_protobuf,
    llm,
    log,
    logs,
    pairs,
    request,
    span,
    span_id,
)

EVENT = "gen_ai.evaluation.result"
OF_CALL = subject_of(Evaluated(trace_id=TRACE, span_id=span_id(1)))


def attributes(value: Any = 0.5, name: str = "relevance", **more: Any) -> dict[str, Any]:
    """What an evaluation says."""
    return {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": value, **more}


def event(**said: Any) -> dict[str, Any]:
    """An event of a span."""
    at = span(1)["startTimeUnixNano"]
    return {"timeUnixNano": at, "name": EVENT, "attributes": pairs(attributes(**said))}


def send(gateway: Gateway, path: str, content: Any) -> dict[str, Any]:
    """Post a request as JSON; what is answered."""
    with gateway.client() as client:
        answer = client.post(path, content=json.dumps(content).encode(), headers=JSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def quiet(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own."""
    with Gateway(own_root, deployment(provider.url)) as running:
        yield running


def test_an_event_of_a_span_is_a_score(quiet: Gateway) -> None:
    """By a scorer, the key that sent it, of the call that the span tells of; and it stays in the trace."""
    said = request(llm(1, events=[event(**{"gen_ai.evaluation.explanation": "on topic"})]))
    assert send(quiet, "/v1/traces", said) == {}
    assert send(quiet, "/v1/traces", said) == {}
    first, again = quiet.scores()
    assert first == again  # the same id: it is kept once
    assert {name: first[name] for name in ("subject", "subject_id", "name", "source", "by", "value")} == {
        "subject": "record",
        "subject_id": OF_CALL,
        "name": "relevance",
        "source": "scorer",
        "by": "app",
        "value": 0.5,
    }
    assert first["comment"] == "on topic"
    assert quiet.spans()[0]["events"][0]["name"] == EVENT
    with quiet.client() as client:
        assert 'airboss_evaluations_total{outcome="accepted"} 2.0' in client.get("/metrics").text


def test_a_span_of_no_time_may_be_one(quiet: Gateway) -> None:
    """As libraries without events write it, below the call's; in protobuf too."""
    said = request(llm(1), span(2, 1, name=EVENT, attributes=attributes(1.0)))
    with quiet.client() as client:
        assert client.post("/v1/traces", content=as_protobuf(said), headers=PROTOBUF).content == b""
    (score,) = quiet.scores()
    assert (score["subject_id"], score["value"]) == (OF_CALL, 1.0)


def test_a_log_record_is_a_score(quiet: Gateway) -> None:
    """Of the span that it names, or of the answer; other spans' stand in their trace as well."""
    answer = {"gen_ai.response.id": "chatcmpl-1"}
    bare = log(EVENT, attributes=attributes(0.1, **answer), traceId="", spanId="")
    assert send(quiet, "/v1/logs", logs(log(EVENT, attributes=attributes(0.5)), bare)) == {}
    assert [each["subject_id"] for each in quiet.scores()] == [
        OF_CALL,
        subject_of(Evaluated(answer_id="chatcmpl-1")),
    ]
    (kept,) = quiet.spans()
    assert (kept["parent_id"], kept["name"]) == (span_id(1), EVENT)


def test_two_evaluations_of_one_moment_are_two(quiet: Gateway) -> None:
    """They are told apart by what they say."""
    at = event()["timeUnixNano"]
    events = [
        {**event(value=value, name=name), "timeUnixNano": at}
        for value, name in ((1, "a"), (0, "a"), (1, "b"))
    ]
    send(quiet, "/v1/traces", request(llm(1, events=events)))
    assert len({each["id"] for each in quiet.scores()}) == 3


def test_bad_ones_are_refused_alone_and_told(quiet: Gateway) -> None:
    """The span is kept, none of it is rejected; the answer says how many evaluations are no scores."""
    wrong = [event(value="high"), event(name=""), {**event(), "timeUnixNano": "1"}]
    said = request(llm(1, events=[*wrong, event(), event(value="high")]))
    told = send(quiet, "/v1/traces", said)["partialSuccess"]
    assert told["rejectedSpans"] == "0"
    for part in (
        "2 evaluations: gen_ai.evaluation.score.value is 'high'",
        "1 evaluations: a time is missing",
    ):
        assert part in told["errorMessage"]
    assert (len(quiet.scores()), len(quiet.spans())) == (1, 1)
    nothing = log(EVENT, attributes=attributes(), traceId="", spanId="")
    told = send(quiet, "/v1/logs", logs(nothing))["partialSuccess"]
    assert "neither the span of a call nor a gen_ai.response.id" in told["errorMessage"]
    with quiet.client() as client:
        shown = client.get("/metrics").text
    assert 'airboss_evaluations_total{outcome="rejected"} 5.0' in shown
    assert 'airboss_spans_total{outcome="accepted"} 1.0' in shown


def test_there_are_not_too_many(quiet: Gateway) -> None:
    """As many as spans in one request; what is beyond is told."""
    spans = [llm(1 + n, events=[event(value=n * 200 + m) for m in range(101)]) for n in range(100)]
    told = send(quiet, "/v1/traces", request(*spans))["partialSuccess"]
    assert f"100 evaluations: more than {SPANS_MAX} in one request" in told["errorMessage"]
    assert len(quiet.scores()) == SPANS_MAX


def test_explanations_are_content(provider: FakeProvider, own_root: Path) -> None:
    """Masked as what was said is; not kept where bodies are off."""
    masking = policy_of("mask", ("email",))
    said = event(**{"gen_ai.evaluation.explanation": "names ann@example.org"})
    with Gateway(own_root / "a", deployment(provider.url, policy=masking)) as gateway:
        send(gateway, "/v1/traces", request(llm(1, events=[said])))
        assert "ann@example.org" not in gateway.scores()[0]["comment"]
        assert b"ann@example.org" not in gateway.journal_bytes()
    with Gateway(own_root / "b", deployment(provider.url), bodies=False) as gateway:
        send(gateway, "/v1/traces", request(llm(1, events=[said])))
        send(gateway, "/v1/logs", logs(log(EVENT, attributes=attributes())))
        assert [each.get("comment") for each in gateway.scores()] == [None, None]
        assert [each.get("events") for each in gateway.spans()] == [None]


def test_the_cause_of_having_no_value_is_masked_too(provider: FakeProvider, own_root: Path) -> None:
    """It may quote what was said, as an explanation may."""
    said = {"gen_ai.evaluation.name": "relevance", "error.type": "no such person as ann@example.org"}
    with Gateway(own_root, deployment(provider.url, policy=policy_of("mask", ("email",)))) as gateway:
        send(gateway, "/v1/logs", logs(log(EVENT, attributes=said, spanId=span_id(1), traceId=TRACE)))
        assert gateway.scores()[0]["unscored"].startswith("no such person as [EMAIL]")
        assert b"ann@example.org" not in gateway.journal_bytes()


def test_evaluations_need_a_key(quiet: Gateway) -> None:
    """As spans do."""
    said = request(llm(1, events=[event()]))
    answer = httpx2.post(f"{quiet.url}/v1/traces", json=said)
    assert answer.status_code == 401
    assert quiet.scores() == []
