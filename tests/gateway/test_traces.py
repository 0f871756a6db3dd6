"""Spans that apps send: `POST /v1/traces`."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.config.prices import shipped
from airboss.domain.plan import Preview, Price, Served
from airboss.domain.release import Policy
from airboss.gateway.traces import BODY_BYTES_MAX, worked
from airboss.gateway.traces_fitting import ATTRIBUTES_CHARS_MAX, VALUE_CHARS_MAX, fitting
from airboss.governance.policies import policy_of
from airboss.releases.build import sealed
from airboss.telemetry.metrics import Counts, write_counts
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, PRICE, Gateway, deployment
from tests.support.otlp import JSON, PROTOBUF, TRACE, as_protobuf, llm, pairs, partial, refused, request, span
from tests.support.wait import until

DATA = Path(__file__).parents[1] / "telemetry" / "data"


def send(gateway: Gateway, content: bytes, headers: dict[str, str]) -> httpx2.Response:
    """Post a body as it is."""
    with gateway.client() as client:
        return client.post("/v1/traces", content=content, headers=headers)


def send_json(gateway: Gateway, *spans: dict[str, Any], **named: Any) -> httpx2.Response:
    """Post spans as JSON; all of them must be kept."""
    answer = send(gateway, json.dumps(request(*spans, **named)).encode(), JSON)
    assert (answer.status_code, answer.json()) == (200, {}), answer.text
    return answer


@pytest.fixture
def quiet(provider: FakeProvider, own_root: Path) -> Iterator[Gateway]:
    """A worker of the test's own, with a price for `up`."""
    with Gateway(own_root, deployment(provider.url, price=PRICE, upstream_model="gpt-4o-mini")) as running:
        yield running


def test_senders_who_leave_are_read_one_at_a_time() -> None:
    """A thread cannot be stopped: the next one waits for it, or all of those who left would be in memory."""
    go_on, at_work, most = threading.Event(), [0], [0]

    def work() -> bytes:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        go_on.wait(60)
        at_work[0] -= 1
        return b"read"

    async def main() -> bytes:
        worker: Any = SimpleNamespace(reading=asyncio.Semaphore(1))
        http: Any = SimpleNamespace(body=b"", headers={})
        leaving = [asyncio.ensure_future(worked(worker, http, work, waits=True)) for _ in range(3)]
        last = asyncio.ensure_future(worked(worker, http, work, waits=True))
        for each in leaving:
            await asyncio.wait(leaving, timeout=0.02)
            each.cancel()
        await asyncio.wait({last}, timeout=0.1)
        go_on.set()
        said = await last
        assert all(
            isinstance(each, BaseException) for each in await asyncio.gather(*leaving, return_exceptions=True)
        )
        return said

    assert asyncio.run(main()) == b"read"
    assert most == [1]


def test_both_encodings_give_the_same_spans(quiet: Gateway) -> None:
    """Protobuf and JSON, packed or not: the same span is the same frame, in the journal once answered."""
    said = request(llm(2, 1, attributes={"list": ["a", 1, {"b": True}], "number": 0.5}), span(1))
    bodies = [
        (json.dumps(said).encode(), JSON),
        (as_protobuf(said), PROTOBUF),
        (gzip.compress(as_protobuf(said)), PROTOBUF | {"content-encoding": "gzip"}),
        (zlib.compress(json.dumps(said).encode()), JSON | {"content-encoding": "deflate"}),
    ]
    for number, (body, headers) in enumerate(bodies):
        answer = send(quiet, body, headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == headers["content-type"]
        assert answer.content == (b"{}" if headers["content-type"] == JSON["content-type"] else b"")
        frames = quiet.spans()
        assert len(frames) == 2 * (number + 1)
        assert frames[-2:] == frames[:2]
    call, root = quiet.spans()[:2]
    assert call["parent_id"] == root["span_id"]
    assert call["attributes"]["list"] == ["a", 1, {"b": True}]
    assert call["call"]["cost_usd"] == "0.00002"
    assert (call["call"]["model"], call["call"]["provider"]) == ("gpt-4o-mini", "openai")
    assert (call["call"]["deployment"], call["call"]["arm"]) == ("otlp:bot", "external")
    assert (call["call"]["input_tokens"], call["call"]["output_tokens"]) == (10, 5)
    assert call["call"]["trace_id"] == TRACE


def test_an_errors_kind_is_a_name(quiet: Gateway) -> None:
    """An app may send an error's words as its type: no record has them, where kinds are in the clear."""
    kinds = {"openai.NotFoundError": "openai.NotFoundError", "429": "429", "no to Ann: she said so": "error"}
    sent = [
        llm(at, attributes={"error.type": kind, "gen_ai.response.finish_reasons": [kind]})
        for at, kind in enumerate(kinds, 1)
    ]
    assert send(quiet, json.dumps(request(*sent)).encode(), JSON).status_code == 200
    calls = [each["call"] for each in quiet.spans()]
    assert [each["error_type"] for each in calls] == list(kinds.values())
    assert [each["attempts"][0]["error_type"] for each in calls] == list(kinds.values())
    assert [each["finish_reason"] for each in calls][1:] == ["429", None]


def test_spans_need_a_key(quiet: Gateway) -> None:
    """As every route under /v1."""
    for headers in ({}, {"authorization": "Bearer ab_wrong"}):
        answer = httpx2.post(f"{quiet.url}/v1/traces", content=b"", headers=PROTOBUF | headers)
        assert refused(answer, PROTOBUF)[:2] == (401, 16)
        strange = httpx2.post(
            f"{quiet.url}/v1/traces", content=b"x", headers={"content-type": "a/b"} | headers
        )
        assert strange.status_code == 401, "what is taken is told to those with a key alone"
    assert send(quiet, b"", PROTOBUF).status_code == 200
    assert quiet.spans() == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"\x0a\xff\xff\xff\xff\x0f", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"resourceSpans":5}', JSON, 400),
        (b'{"resourceSpans":[{"resource":{"attributes":[{"value":{"intValue":"x"}}]}}]}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"", {"content-type": "text/plain"}, 415),
        (b"", PROTOBUF | {"content-encoding": "br"}, 415),
        (b"no gzip", PROTOBUF | {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], PROTOBUF | {"content-encoding": "gzip"}, 400),
        (gzip.compress(bytes(BODY_BYTES_MAX + 1), 1), PROTOBUF | {"content-encoding": "gzip"}, 413),
        (b"\0" * (BODY_BYTES_MAX + 1), PROTOBUF, 413),
    ],
)
def test_what_is_no_request_is_refused(
    gateway: Gateway, content: bytes, headers: dict[str, str], status: int
) -> None:
    """With a status in the sender's encoding, whatever was sent, and the worker goes on."""
    assert refused(send(gateway, content, headers), headers)[0] == status


def test_compressed_bodies_are_for_traces_alone(gateway: Gateway) -> None:
    """Elsewhere a packed body would be read unbounded, or not at all."""
    with gateway.client() as client:
        answer = client.post("/v1/feedback", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["json", "protobuf"])
def test_a_wrong_span_is_rejected_alone(quiet: Gateway, kind: str) -> None:
    """The others are kept, and the answer counts those that are not, with the reason."""
    wrong = [
        span(2, traceId="00" * 16),
        span(3, traceId="ab"),
        span(4, spanId=""),
        span(5, startTimeUnixNano="0"),
        span(6, endTimeUnixNano="1"),
        span(7, endTimeUnixNano=str(2**64 - 1)),
        span(8, start_ns=1_700_000_000 * 10**9, endTimeUnixNano=str(1_600_000_000 * 10**9)),
        span(9, parentSpanId="abcd"),
    ]
    said = request(span(1), *wrong, span(10, parentSpanId="00" * 8))
    if kind == "json":
        answer = send(quiet, json.dumps(said).encode(), JSON)
        success = answer.json()["partialSuccess"]
        count, why = int(success["rejectedSpans"]), success["errorMessage"]
    else:
        answer = send(quiet, as_protobuf(said), PROTOBUF)
        count, why = partial(answer.content)
    assert answer.status_code == 200
    assert count == len(wrong)
    for part in ("16 bytes", "8 bytes", "before 2010", "an hour ahead", "ends before it starts"):
        assert part in why
    assert [each["name"] for each in quiet.spans()] == ["span 1", "span 10"]
    with quiet.client() as client:
        shown = client.get("/metrics").text
    assert f'airboss_spans_total{{outcome="rejected"}} {len(wrong)}.0' in shown
    assert 'airboss_spans_total{outcome="accepted"} 2.0' in shown


def test_huge_spans_are_cut(quiet: Gateway) -> None:
    """10 MB in one attribute, thousands of attributes, events and levels: the span is kept and fits a row."""
    deep: Any = "bottom"
    for _ in range(40):
        deep = [deep]
    events = [{"timeUnixNano": "1", "name": f"e{n}", "attributes": pairs_of("x" * 500)} for n in range(500)]
    attributes = {"big": "x" * 10_000_000, "deep": deep, **{f"k{n}": "y" * 40 for n in range(3_000)}}
    send_json(quiet, span(1, attributes=attributes, events=events), llm(2))
    kept, other = quiet.spans()
    assert other["name"] == "span 2"
    assert len(json.dumps(kept)) < 64 * 1024
    assert kept["attributes"]["big"].endswith(" more characters]")
    assert kept["attributes"]["airboss.cut"] >= 1_976
    assert kept["events"][-1]["name"].startswith("[cut: ")
    send_json(quiet, llm(3, attributes={"gen_ai.input.messages": said("z" * 3_000_000)}))
    assert len(quiet.spans()[-1]["call"]["request"]["messages"][0]["content"]) == 3_000_000


def pairs_of(text: str) -> list[dict[str, Any]]:
    """One attribute."""
    return [{"key": "text", "value": {"stringValue": text}}]


def said(text: str) -> str:
    """Messages of one user, as OpenTelemetry writes them."""
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}])


def test_attributes_fit_a_row() -> None:
    """However many and however long they are."""
    for attributes in (
        {f"k{n}": "x" * n for n in range(1_000)},
        {"a": "x" * 10**6},
        {"x" * 256 + str(n): 1 for n in range(1_000)},
        {"deep": [["y" * VALUE_CHARS_MAX]]},
    ):
        assert len(json.dumps(fitting(attributes, ATTRIBUTES_CHARS_MAX))) <= ATTRIBUTES_CHARS_MAX + 1_000


def test_calls_are_priced(quiet: Gateway) -> None:
    """By the plan's price for such a model, else as the span says, else by the table of prices, which the
    record tells."""
    anthropic = {"gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-opus-5"}
    cached = {"gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.cache_creation.input_tokens": 2}
    said = {"gen_ai.usage.cost": 0.1}
    bedrock = {"gen_ai.provider.name": "aws.bedrock", "gen_ai.request.model": "nobody.knows"}
    send_json(
        quiet,
        llm(1, attributes=said),
        llm(2, attributes=anthropic | said),
        llm(3, attributes=anthropic | cached),
        llm(
            4,
            attributes=anthropic
            | {"gen_ai.response.model": "claude-opus-5", "gen_ai.request.model": "alias"},
        ),
        llm(5, attributes=bedrock),
        llm(6, attributes=anthropic | {"gen_ai.provider.name": "azure.ai.openai"}),
        llm(7, attributes=anthropic | {"gen_ai.provider.name": ""}),  # one vendor alone has this name
    )
    calls = [each["call"] for each in quiet.spans()]
    (first,) = {each["attempts"][0]["priced_by"] for each in calls[2:4]}
    assert first == shipped().version
    assert [(each["cost_usd"], each["attempts"][0]["priced_by"]) for each in calls] == [
        ("0.00002", "config"),
        ("0.1", "span"),
        # 4 new at 5 USD per million, 4 from the cache at 0.5, 2 into it at 6.25, 5 out at 25.
        ("0.0001595", first),
        ("0.000175", first),
        (None, None),
        (None, None),
        ("0.000175", first),
    ]
    assert calls[2]["attempts"][0]["usage"]["cached_input_tokens"] == 4


def test_calls_are_priced_by_their_tier(provider: FakeProvider, own_root: Path) -> None:
    """Where the span names one, by today's name or the one before; without a price for it that is told."""
    half = Price(input_usd_per_mtok=Decimal("0.5"), output_usd_per_mtok=Decimal(1))
    price = msgspec.structs.replace(PRICE, tiers={"flex": half})
    plan = deployment(provider.url, price=price, priced_by="config", upstream_model="gpt-4o-mini")
    with Gateway(own_root, plan) as gateway:
        names = {
            "openai.response.service_tier": ("default", "flex", "scale"),
            "gen_ai.openai.response.service_tier": ("flex",),
        }
        told = [{name: tier} for name, tiers in names.items() for tier in tiers]
        send_json(gateway, *(llm(number, attributes=each) for number, each in enumerate(told, 1)))
        calls = [each["call"] for each in gateway.spans()]
    assert [(each["cost_usd"], each["attempts"][0]["priced_by"]) for each in calls] == [
        ("0.00002", "config"),
        ("0.00001", "config for flex"),
        ("0.00002", "config, not for scale"),
        ("0.00001", "config for flex"),
    ]


def test_a_call_to_this_gateway_is_not_a_second_record(quiet: Gateway) -> None:
    """A span whose address is ours tells of a call that has a record here."""
    send_json(
        quiet,
        llm(1, attributes={"server.address": "127.0.0.1", "server.port": quiet.port}),
        llm(2, attributes={"server.address": "api.openai.com", "server.port": 443}),
        llm(3, attributes={"gen_ai.openai.api_base": f"{quiet.url}/v1/"}),
    )
    assert [each["call"] is not None for each in quiet.spans()] == [False, True, False]


def test_secrets_do_not_reach_the_journal(quiet: Gateway) -> None:
    """The redactor reads spans as it reads calls."""
    attributes = {"gen_ai.input.messages": said(f"use {KEY}"), "note": KEY, "list": [KEY]}
    send_json(quiet, llm(1, attributes=attributes), span(2, name=KEY, status={"code": 2, "message": KEY}))
    assert len(quiet.spans()) == 2
    assert KEY.encode() not in quiet.journal_bytes()


def test_an_apps_own_credentials_are_not_kept(quiet: Gateway) -> None:
    """Headers that instrumentations write down hold keys that nobody here knows; other attributes stay."""
    named = (
        "gen_ai.headers",
        "http.request.header.authorization",
        "http.request.header.x-api-key",
        "db.api_key",
    )
    attributes = {name: ["Bearer sk-theirs"] for name in (*named, "HTTP.Request.Header.Cookie")}
    event = {"timeUnixNano": "1", "name": "e", "attributes": pairs({"proxy-authorization": "sk-theirs"})}
    counts = {"llm.token_count.prompt": 5, "cookies": 3}
    send_json(quiet, llm(1, attributes=attributes | counts, events=[event]))
    (kept,) = quiet.spans()
    assert b"sk-theirs" not in quiet.journal_bytes()
    assert {name: kept["attributes"][name] for name in attributes} == dict.fromkeys(attributes, "[redacted]")
    assert {name: kept["attributes"][name] for name in counts} == counts


def test_spans_are_under_policy(provider: FakeProvider, own_root: Path) -> None:
    """What any deployment's policy masks is masked in all texts of a span; the user is an identifier."""
    policy: Policy = policy_of("block", ("email",))
    with Gateway(own_root, deployment(provider.url, policy=policy)) as gateway:
        mail = "bob@example.org"
        send_json(
            gateway,
            llm(1, attributes={"gen_ai.input.messages": said(f"to {mail}"), "user.id": mail, "note": mail}),
            span(2, name=f"mail {mail}", status={"code": 2, "message": f"no {mail}"}),
        )
        call, other = gateway.spans()
        assert (call["user"], other["user"]) == (mail, mail)
        texts = json.dumps([call, other]).replace(f'"user": "{mail}"', "")
        assert mail not in texts
        assert call["call"]["request"]["messages"] == [{"role": "user", "content": "to [EMAIL]"}]
        assert call["call"]["policy"][0]["count"] == 1
        assert (other["name"], other["message"]) == ("mail [EMAIL]", "no [EMAIL]")


def test_spans_are_under_the_policy_of_a_preview(provider: FakeProvider, own_root: Path) -> None:
    """Who is named gets a candidate, and what their apps tell of its calls is under its policy."""
    plain = deployment(provider.url)
    strict = sealed(msgspec.structs.replace(plain.stable, policy=policy_of("mask", ("email",))))
    preview = Preview(served=Served(release=strict, target=plain.target), users=("ada",), keys=())
    with Gateway(own_root, msgspec.structs.replace(plain, preview=preview)) as gateway:
        send_json(gateway, llm(1, attributes={"gen_ai.input.messages": said("to bob@example.org")}))
        (call,) = gateway.spans()
        assert call["call"]["request"]["messages"] == [{"role": "user", "content": "to [EMAIL]"}]


def test_without_bodies_nothing_said_is_kept(provider: FakeProvider, own_root: Path) -> None:
    """Where records hold no bodies spans hold none either; what counts stays."""
    with Gateway(own_root, deployment(provider.url), bodies=False) as gateway:
        for path in sorted(DATA.glob("*.bin")):
            assert send(gateway, path.read_bytes(), PROTOBUF).status_code == 200
        said_in = (
            *("llm.choices.0.completion.text", "llm.prompt_template.variables", "reranker.query"),
            *("gen_ai.retrieval.query.text", "gen_ai.evaluation.explanation", "traceloop.prompt.template"),
            *("mcp.response.value", "input.documents.0.document.content", "gen_ai.task.output"),
        )
        send_json(gateway, span(1, attributes=dict.fromkeys(said_in, "be kind")), llm(2))
        assert b"be kind" not in gateway.journal_bytes()
        assert b"air boss launches" not in gateway.journal_bytes()
        assert len([each for each in gateway.spans() if each["call"]]) >= 20


def test_without_bodies_no_name_hides_what_was_said(provider: FakeProvider, own_root: Path) -> None:
    """Other SDKs have names of their own for it, and apps any: texts under known names stay, and numbers."""
    said_in = (
        *("ai.prompt", "ai.prompt.messages", "ai.response.text", "ai.toolCall.args", "ai.response.object"),
        *("mlflow.spanInputs", "mlflow.spanOutputs", "langfuse.observation.input", "langfuse.trace.output"),
        *("pydantic_ai.all_messages", "all_messages_events", "tool_arguments", "input", "app.question"),
        *("langsmith.inputs", "db.query.text", "db.query.parameter.0", "user.question", "llm.answer"),
        *("gcp.vertex.agent.llm_request", "gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.data"),
        *(
            "gen_ai.request.messages",
            "gen_ai.response.text",
            "gen_ai.tool.input",
            "gen_ai.agent.instructions",
        ),
        *("gen_ai.response.choices.0.message.content", "http.request.body.content", "messaging.message.body"),
        *("exception.message", "exception.stacktrace", "error.message"),
    )
    kept = {
        "app.tries": 3,
        "user.id": "ann",
        "http.route": "/ask",
        "exception.type": "TimeoutError",
        "gen_ai.request.model": "up",
        "ai.model.id": "up",
        "langfuse.observation.type": "span",
    }
    with Gateway(own_root, deployment(provider.url), bodies=False) as gateway:
        note = {"timeUnixNano": "1", "name": "note", "attributes": pairs(dict.fromkeys(said_in, "be kind"))}
        given = dict.fromkeys(said_in, "be kind") | {"list": ["be kind"]} | kept
        wrong = {"code": 2, "message": "cannot read be kind"}
        send_json(gateway, span(1, attributes=given, events=[note], status=wrong))
        assert b"be kind" not in gateway.journal_bytes()
        (told,) = gateway.spans()
        assert (told["attributes"], told["status"]) == (kept, "error")


def test_a_trace_has_one_user(quiet: Gateway) -> None:
    """Spans that name nobody are of the person whom another span of their trace in the request names."""
    send_json(
        quiet,
        llm(2, 1),
        span(1, attributes={"user.id": "ann", "session.id": "s-1"}),
        llm(3, trace="ab" * 16),
    )
    call, root, stranger = quiet.spans()
    assert (call["user"], call["session"], call["call"]["user"]) == ("ann", "s-1", "ann")
    assert (root["user"], stranger.get("user")) == ("ann", None)


def test_spans_that_were_answered_survive_a_kill(quiet: Gateway) -> None:
    """Killed right after the answer, a worker has all of them in its journal."""
    for number in range(20):
        send_json(quiet, *(llm(10 * number + each + 1) for each in range(10)))
    quiet.kill()
    assert len({each["id"] for each in quiet.spans()}) == 200
    quiet.restart()


def test_traces_and_their_state_go_upstream(gateway: Gateway, provider: FakeProvider) -> None:
    """A valid traceparent goes on with our span in it, its flag and the tracestate; others do not."""
    parent = f"00-{TRACE}-00f067aa0ba902b7"
    with gateway.client() as client:

        def sent(**headers: str) -> tuple[dict[str, str], str]:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200
            return dict(provider.last().headers), answer.headers["x-request-id"]

        for flags, state in (("01", "a=1,b=2"), ("00", "a=1")):
            seen, record = sent(traceparent=f"{parent}-{flags}", tracestate=state)
            assert seen["traceparent"] == f"00-{TRACE}-{record.replace('-', '')[16:]}-{flags}"
            assert seen["tracestate"] == state
        for wrong in (
            f"{parent}-01-x",
            f"{parent}-1",
            f"{parent}-0g",
            f"{parent}".upper() + "-01",
            f"00-{'0' * 32}-00f067aa0ba902b7-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"ff-{TRACE}-00f067aa0ba902b7-01",
            "00-0x" + TRACE[2:] + "-00f067aa0ba902b7-01",
        ):
            seen, record = sent(traceparent=wrong, tracestate="a=1")
            assert "traceparent" not in seen, wrong
            assert "tracestate" not in seen
            assert gateway.frames()[0][record]["trace_id"] is None
        seen, _ = sent(traceparent=f"cc-{TRACE}-00f067aa0ba902b7-ff-later", tracestate="x" * 600)
        assert seen["traceparent"].startswith(f"00-{TRACE}-")
        assert seen["traceparent"].endswith("-01")
        assert "tracestate" not in seen


def test_ids_grow_though_the_clock_steps_back_while_a_worker_is_away(
    provider: FakeProvider, own_root: Path
) -> None:
    """Those of the next life are later than all of the last; a time that is far off is forgotten."""
    with Gateway(own_root, deployment(provider.url)) as mine:
        mine.chat()

        def next_life(ahead: timedelta) -> datetime:
            (path,) = until(lambda: list(own_root.rglob("metrics/*.json")))
            mine.kill()
            counts = msgspec.json.decode(path.read_bytes(), type=Counts)
            write_counts(path, msgspec.structs.replace(counts, written_at=datetime.now(UTC) + ahead))
            mine.restart()
            made = mine.chat().headers["x-request-id"]  # waits on the socket until it serves
            return datetime.fromtimestamp(int(made.replace("-", "")[:12], 16) / 1000, UTC)

        assert next_life(timedelta(minutes=10)) > datetime.now(UTC) + timedelta(minutes=9)
        assert next_life(timedelta(days=300)) < datetime.now(UTC) + timedelta(minutes=1)
