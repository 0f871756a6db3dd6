"""Calls on their way to an OTLP backend: what is sent, once, in spite of everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.compose.exporting import settings_of
from airboss.config import parse_config
from airboss.controller.otlp_export import OtlpExport, Refused
from airboss.controller.otlp_settings import ExportSettings, environment_settings, with_path
from airboss.domain.errors import SetupError
from airboss.domain.ports import JournalMove
from airboss.domain.score import Score
from airboss.store.memory import MemoryRecordLog
from airboss.telemetry.semconv import DURATION_BUCKETS_S
from tests.store.samples import SEGMENT, START, call_id, closed_json, opened_json, record_json
from tests.store.spans import TRACE, llm
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.otlp_backend import Backend, attributes


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = START + timedelta(minutes=5)
        self.seconds = 100.0

    def now(self) -> datetime:
        """As `ports.Clock`."""
        return self.at

    def monotonic(self) -> float:
        """As `ports.Clock`."""
        return self.seconds

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


class Cursors:
    """Where the follower keeps how far it is."""

    def __init__(self) -> None:
        self.kept: dict[str, str | None] = {"otlp": ""}

    def cursor(self, name: str) -> str | None:
        """As `Cursors.cursor`."""
        return self.kept.get(name)

    def put_cursor(self, name: str, value: str | None) -> None:
        """As `Cursors.put_cursor`."""
        self.kept[name] = value


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend of the test's own."""
    with Backend() as running:
        yield running


def settings(url: str, **changes: Any) -> ExportSettings:
    """Everything to one backend."""
    urls = {f"{each}_url": with_path(url, each) for each in ("traces", "metrics", "logs")}
    return ExportSettings(**{**urls, **changes})


def exporter(
    log: MemoryRecordLog,
    chosen: ExportSettings | None,
    cursors: Cursors | None = None,
    clock: Clock | None = None,
    since: datetime = START,
) -> OtlpExport:
    """A follower of this log."""
    return OtlpExport(
        settings=lambda: chosen,
        since=lambda: since,
        record_log=log,
        cursors=cursors or Cursors(),
        clock=clock or Clock(),
    )


def follow(export: OtlpExport, *, after: Callable[[], None] = lambda: None) -> None:
    """Tick until nothing is left, twice with `after` in between; and hang up."""

    async def work() -> None:
        while await export.tick():
            pass
        after()
        while await export.tick():
            pass
        await export._hang_up()

    asyncio.run(work())


def log_of(*numbers: int, **fields: Any) -> MemoryRecordLog:
    """A log with these calls."""
    log = MemoryRecordLog()
    records = tuple(record_json(number, **fields) for number in numbers)
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    return log


def test_a_call_is_a_span_in_its_callers_trace(backend: Backend) -> None:
    """Ids, times, kind, parent and attributes as OpenTelemetry has them; no word of anybody's."""
    log = MemoryRecordLog()
    opened = opened_json(1, trace_id=TRACE, trace_parent="00f067aa0ba902b7-01", user="ann", session="s-1")
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, opened={call_id(1): opened}))
    closed = closed_json(1, cached_input_tokens=4, cache_write_tokens=2)
    log.apply(JournalMove(segment=SEGMENT, start=1, end=2, closed={call_id(1): closed}))
    follow(exporter(log, settings(backend.url, headers={"x-scope": "team"})))
    (span,) = backend.spans
    assert span.trace_id.hex() == TRACE
    assert span.span_id.hex() == call_id(1).replace("-", "")[16:]
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert (span.name, span.kind) == ("chat small", 3)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 100_000_000
    said = attributes(span)
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "local",
        "gen_ai.request.model": "small",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 8,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.02,
        "gen_ai.conversation.id": "s-1",
        "user.id": "ann",
        "airboss.deployment": "assistant",
        "airboss.record.id": call_id(1),
        "airboss.tag.team": "a",
    }
    assert {name: said.get(name) for name in wanted} == wanted
    assert not [name for name in said if "messages" in name]
    assert backend.headers[0]["x-scope"] == "team"


def test_what_an_import_brought_is_not_sent(backend: Backend) -> None:
    """Whoever recorded these calls has sent them: again they would be twice there, and cost today what they
    did then."""
    log, given = log_of(1, 2, 3, 4), settings(backend.url)
    brought = {call_id(2), call_id(3)}
    export = OtlpExport(
        settings=lambda: given,
        since=lambda: START,
        record_log=log,
        cursors=Cursors(),
        clock=Clock(),
        brought=brought,
    )
    follow(export)
    assert [attributes(span)["airboss.record.id"] for span in backend.spans] == [call_id(1), call_id(4)]
    (counted,) = backend.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert counted.count == export.sent == 2


def test_what_was_said_is_sent_where_that_is_asked_for(backend: Backend) -> None:
    """As messages of parts, from the record's bodies."""
    answer = {"choices": [{"message": {"role": "assistant", "content": "b"}, "finish_reason": "stop"}]}
    log = log_of(1, response=msgspec.Raw(json.dumps(answer).encode()))
    follow(exporter(log, settings(backend.url, content=True)))
    said = attributes(backend.spans[0])
    asked = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert json.loads(said["gen_ai.input.messages"]) == asked
    (given,) = json.loads(said["gen_ai.output.messages"])
    assert (given["parts"][0]["content"], given["finish_reason"]) == ("b", "stop")


@pytest.mark.parametrize(
    "odd",
    [
        '{"messages": [{"role": "user", "content": 5, "tool_calls": 5}, {"role": 5, "tool_calls": true}, 5]}',
        '{"messages": [{"role": "assistant", "tool_calls": [5, {"function": 5}, {"id": {}}]}], "tools": [5]}',
        '{"messages": {"a": 1}}',
        '{"prompt": [[1, 2], null]}',
    ],
)
def test_what_was_said_is_sent_whatever_its_shape(backend: Backend, odd: str) -> None:
    """One call that is odd holds up none of the others."""
    answer = b'{"choices": [5, {"message": 5}, {"message": {"content": "b", "tool_calls": 5}}]}'
    log = log_of(1, 2, request=msgspec.Raw(odd.encode()), response=msgspec.Raw(answer))
    export = exporter(log, settings(backend.url, content=True))
    follow(export)
    assert (len(backend.spans), export.failures) == (2, 0)
    said = attributes(backend.spans[0])
    assert json.loads(said["gen_ai.output.messages"])[-1]["parts"] == [{"type": "text", "content": "b"}]


def test_each_call_is_sent_once(backend: Backend) -> None:
    """Page after page, over restarts; and nothing that apps have told of, nor Airboss's own calls."""
    log, cursors = log_of(*range(1, 451)), Cursors()
    told = msgspec.json.encode(llm(500))
    own = record_json(600, key="airboss")
    log.apply(JournalMove(segment="w/2", start=0, end=1, spans=(told,), records=(own,), moved_at=START))
    log.settle_calls(START + timedelta(hours=1), limit=10)
    follow(exporter(log, settings(backend.url), cursors))
    follow(exporter(log, settings(backend.url), cursors))
    ids = [span.span_id for span in backend.spans]
    assert len(ids) == len(set(ids)) == 450


def test_a_backend_that_is_away_costs_only_delay(backend: Backend) -> None:
    """The cursor stays until it takes the page; sent again, a span has the same ids."""
    log, cursors = log_of(1, 2), Cursors()
    export = exporter(log, settings(backend.url), cursors)
    for status in (503, 429, 401, 404, 500):
        backend.script = [status]
        with pytest.raises(Refused, match=str(status)):
            asyncio.run(export.tick())
        export = exporter(log, settings(backend.url), cursors)
    assert cursors.kept["otlp"] == ""
    gone = exporter(log, settings("http://127.0.0.1:9"), cursors)
    with pytest.raises(Refused, match="does not answer"):
        asyncio.run(gone.tick())
    follow(export)
    cursors.kept["otlp"] = ""  # as a kill after sending leaves it
    follow(exporter(log, settings(backend.url), cursors))
    first, again = backend.spans[:2], backend.spans[2:]
    assert [each.SerializeToString() for each in first] == [each.SerializeToString() for each in again]


def test_what_will_never_be_taken_is_left_out_and_counted(backend: Backend) -> None:
    """400 is no reason to stop for ever."""
    log, cursors = log_of(1, 2), Cursors()
    backend.script = [400]
    export = exporter(log, settings(backend.url), cursors)
    follow(export)
    assert (export.dropped, backend.spans, cursors.kept["otlp"]) == (2, [], call_id(2))


def test_sampling_is_by_trace_and_by_share(backend: Backend) -> None:
    """A trace that its caller does not sample is not sent; a share of the others is, always the same."""
    log = MemoryRecordLog()
    calls = {
        call_id(number): opened_json(number, trace_id=TRACE, trace_parent=f"{7:016x}-{number % 2:02x}")
        for number in range(1, 401)
    }
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, opened=calls))
    ends = {call_id(number): closed_json(number) for number in range(1, 401)}
    log.apply(JournalMove(segment=SEGMENT, start=1, end=2, closed=ends))
    follow(exporter(log, settings(backend.url)))
    assert len(backend.spans) == 200
    backend.requests.clear()
    for _ in range(2):
        clock = Clock()
        chosen = settings(backend.url, sample=0.25)
        follow(exporter(log, chosen, clock=clock), after=lambda clock=clock: clock.forward(60))  # type: ignore[misc]
    ids = [span.span_id for span in backend.spans]
    assert len(ids) == 2 * len(set(ids))
    assert 25 <= len(set(ids)) <= 80


def test_metrics_have_the_recommended_buckets(backend: Backend) -> None:
    """Histograms of whole calls, first chunks and tokens, cumulative, with errors apart."""
    log, clock = log_of(1, 2), Clock()
    failed = record_json(3, status="error", error_type="upstream_error", ttft_ms=None)
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(failed,)))
    follow(exporter(log, settings(backend.url), clock=clock), after=lambda: clock.forward(20))
    duration = backend.metrics["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    points = {attributes(each).get("error.type"): each for each in duration.histogram.data_points}
    assert tuple(points[None].explicit_bounds) == DURATION_BUCKETS_S
    assert (points[None].count, points["upstream_error"].count) == (2, 1)
    assert points[None].sum == pytest.approx(0.2)
    tokens = backend.metrics["gen_ai.client.token.usage"].histogram.data_points
    assert list(tokens[0].explicit_bounds) == [4**power for power in range(14)]
    assert {attributes(each)["gen_ai.token.type"] for each in tokens} == {"input", "output"}
    assert backend.metrics["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points[0].count == 2
    assert backend.metrics["airboss.cost"].sum.is_monotonic


def test_providers_have_opentelemetrys_names_where_there_are_such(backend: Backend) -> None:
    """Whatever they are called here, on spans and metrics alike; the environment changes nothing of that."""
    config = parse_config(
        """
[providers.claude]
kind = "anthropic"
api_key = "env:KEY"
[providers.house]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
""",
        source="airboss.toml",
    )
    chosen = settings_of(config, {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url})
    assert chosen is not None
    assert chosen.providers == {"claude": "anthropic"}
    log = log_of(1, provider="claude")
    other = record_json(2, provider="house")
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(other,)))
    follow(exporter(log, settings(backend.url, providers=chosen.providers)))
    said = {attributes(span)["airboss.record.id"]: span for span in backend.spans}
    names = [attributes(said[call_id(number)])["gen_ai.provider.name"] for number in (1, 2)]
    assert names == ["anthropic", "house"]
    points = backend.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert {attributes(each)["gen_ai.provider.name"] for each in points} == {"anthropic", "house"}


def test_the_newer_names_are_opted_in(backend: Backend) -> None:
    """By the standard variable; embeddings keep the old name of their duration."""
    log = log_of(1, cache_write_tokens=2, cached_input_tokens=3)
    embedded = record_json(2, operation="embeddings", stream=False, ttft_ms=None)
    log.apply(JournalMove(segment="w/2", start=0, end=1, records=(embedded,)))
    follow(exporter(log, settings(backend.url, latest=True)))
    assert attributes(backend.spans[0])["gen_ai.usage.cache_write.input_tokens"] == 2
    names = set(backend.metrics)
    assert "gen_ai.client.token.usage" not in names
    assert {
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.usage.cache_read.input_tokens",
    } <= names
    assert len(backend.metrics["gen_ai.client.operation.duration"].histogram.data_points) == 1


def test_scores_are_events_at_the_span_judged(backend: Backend) -> None:
    """Each once, also those that come later; comments only with content."""
    log, clock = log_of(1), Clock()

    def score(number: int, value: float | bool | str) -> None:
        given = Score(
            id=f"0190b1c0-0000-7000-8000-{number:012x}",
            subject="record",
            subject_id=call_id(1),
            name=f"s{number}",
            source="human",
            by="team-a",
            at=START,
            value=value,
            comment="so so",
        )
        log.put_scores([given])

    score(1, 0.5)

    def later() -> None:
        score(2, True)
        score(3, "rude")
        clock.forward(30)

    follow(exporter(log, settings(backend.url), clock=clock), after=later)
    events = backend.events
    assert {each.event_name for each in events} == {"gen_ai.evaluation.result"}
    assert {each.span_id.hex() for each in events} == {call_id(1).replace("-", "")[16:]}
    said = {attributes(each)["gen_ai.evaluation.name"]: attributes(each) for each in events}
    assert len(events) == 3
    assert said["s1"]["gen_ai.evaluation.score.value"] == 0.5
    assert said["s2"]["gen_ai.evaluation.score.label"] == "yes"
    assert said["s3"]["gen_ai.evaluation.score.label"] == "rude"
    assert "gen_ai.evaluation.explanation" not in said["s1"]


def test_without_settings_nothing_is_kept(backend: Backend) -> None:
    """Turned off the cursor goes, so that turning it on again begins with what is new."""
    log, cursors = log_of(1), Cursors()
    follow(exporter(log, None, cursors))
    assert cursors.kept["otlp"] is None
    switched_on = START + timedelta(seconds=2)
    follow(exporter(log, settings(backend.url), cursors, since=switched_on))
    assert backend.spans == []
    log.apply(JournalMove(segment=SEGMENT, start=1, end=2, records=(record_json(2), record_json(3))))
    follow(exporter(log, settings(backend.url), cursors, since=switched_on))
    sent = {each.span_id.hex() for each in backend.spans}
    assert sent == {call_id(number).replace("-", "")[16:] for number in (2, 3)}
    assert cursors.kept["otlp"] == call_id(3)


def test_the_standard_environment_is_read() -> None:
    """Endpoints, headers, compression, timeout and names; what is wrong says so."""
    assert environment_settings({}) is None
    found = environment_settings(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otlp.example.com/",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://logs.example.com/x",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20abc,x-a=1",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_SERVICE_NAME": "airboss-eu",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental",
        }
    )
    assert found is not None
    assert found.traces_url == "https://otlp.example.com/v1/traces"
    assert found.logs_url == "https://logs.example.com/x"
    traces = found.own["traces"]
    assert traces.headers == {"authorization": "Bearer abc", "x-a": "1"}
    assert (traces.timeout_s, traces.gzip, found.latest) == (2.5, False, True)
    assert found.resource["service.name"] == "airboss-eu"
    only = environment_settings({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/t"})
    assert only is not None
    assert (only.traces_url, only.metrics_url, only.logs_url) == ("http://h/t", None, None)
    apart = environment_settings(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-a=all",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-a=traces",
            "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "500",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/etc/ca.pem",
        }
    )
    assert apart is not None
    ways = {name: (way.headers["x-a"], way.timeout_s, way.gzip) for name, way in apart.own.items()}
    assert ways == {
        "traces": ("traces", 10.0, True),
        "metrics": ("all", 10.0, False),
        "logs": ("all", 0.5, True),
    }
    assert apart.certificate == "/etc/ca.pem"
    for wrong in (
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "nonsense"},
    ):
        with pytest.raises(SetupError):
            environment_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"} | wrong)
    for wrong in ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_EXPORTER_OTLP_HEADERS": "nonsense"}):
        with pytest.raises(SetupError):
            environment_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"} | wrong)


def test_another_airboss_is_a_backend(tmp_path: Path) -> None:
    """What one sends to the other's /v1/traces is a call with model, tokens and content there."""
    with Gateway(tmp_path / "g", deployment("http://127.0.0.1:9/v1")) as other:
        url = with_path(other.url, "traces")
        chosen = ExportSettings(
            traces_url=url,
            metrics_url=None,
            logs_url=None,
            content=True,
            headers={"authorization": f"Bearer {KEY}"},
        )
        now = datetime.now(UTC) - timedelta(seconds=5)
        follow(exporter(log_of(1, started_at=now, user="ann"), chosen))
        (span,) = other.spans()
    call = span["call"]
    assert (call["model"], call["provider"], call["deployment"]) == ("small", "local", "otlp:airboss")
    assert (call["input_tokens"], call["output_tokens"], call["user"]) == (10, 8, "ann")
    assert call["request"]["messages"] == [{"role": "user", "content": "hi"}]
    assert (call["ttft_ms"], call["latency_ms"]) == (20.0, 100.0)
