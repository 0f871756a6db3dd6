"""Instrumentations that apps are watched with: each watches OpenAI's client, or is one itself, which calls a
provider past the gateway, and sends what it saw to `/v1/traces` through OpenTelemetry's own exporters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.conformance.running import command, told
from tests.support.airboss import Airboss
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.up]
provider = "fake"
model = "gpt-4o-mini"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}

[deployments.assistant]
model = "up"
aliases = ["gpt-4o-mini", "text-embedding-3-small"]
"""
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
LATEST = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    CAPTURE: "SPAN_ONLY",
}
RUNS: dict[str, tuple[str, str, dict[str, str]]] = {
    "opentelemetry": ("opentelemetry", "protobuf", {}),
    "opentelemetry-latest": ("opentelemetry", "json", LATEST),
    "opentelemetry-events": ("opentelemetry", "gzip", {CAPTURE: "true"}),
    "opentelemetry-latest-events": (
        "opentelemetry",
        "protobuf",
        {**LATEST, CAPTURE: "EVENT_ONLY", "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true"},
    ),
    "openinference": ("openinference", "gzip", {}),
    "openllmetry": ("openllmetry", "protobuf", {}),
    "langfuse": ("langfuse", "protobuf", {}),
    "mlflow": ("mlflow", "gzip", {}),
}
"""By name: the client, how it sends, and its environment."""

Said = dict[str, Any]


@pytest.fixture(scope="module")
def airboss(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """A whole one, because records of spans are made behind the gateway."""
    made = Airboss(tmp_path_factory.mktemp("traced") / "a", CONFIG.format(url=fake_process.url))
    with closing(made.start()) as running:
        yield running


@pytest.fixture(scope="module", params=RUNS)
def seen(
    request: pytest.FixtureRequest, fake_process: FakeProvider
) -> tuple[str, Said, list[Said], list[Said]]:
    """By one of them: its name, what its program tells, the records of its calls in order, and its tree."""
    name: str = request.param
    client, mode, environment = RUNS[name]
    command(client)  # skips before anything is started
    running: Airboss = request.getfixturevalue("airboss")
    base, key = running.ready["base_url"], running.ready["api_key"]
    said = told(client, base, key, fake_process.url, mode, **environment)
    assert said["flushed"]

    def calls() -> list[Said]:
        found = [each for each in running.records() if each["trace_id"] == said["trace"]]
        return found[::-1] if len(found) >= 4 else []

    records = until(calls, timeout_s=60.0)
    api = {"authorization": f"Bearer {running.ready['admin_key']}"}
    page = f"{running.ready['console_url']}/api/v1/traces/{said['trace']}"

    def whole() -> list[Said]:  # the agent's own span comes last
        rows: list[Said] = httpx2.get(page, headers=api).json().get("rows", [])
        # What is said in log records stands below its call.
        rows = [row for row in rows if not row["name"].startswith("gen_ai.")]
        return rows if len(rows) >= 7 else []

    return name, said, records, until(whole, timeout_s=60.0)


def test_the_calls(seen: tuple[str, Said, list[Said], list[Said]]) -> None:
    """Each call is one record: model, tokens as its client had them, cost, and how it ended."""
    name, said, records, _ = seen
    assert [each["model"] for each in records] == ["gpt-4o-mini"] * 2 + [
        "text-embedding-3-small",
        "gpt-4o-mini",
    ]
    assert [each["operation"] for each in records] == ["chat", "chat", "embeddings", "chat"]
    assert [each["status"] for each in records] == ["ok", "ok", "ok", "error"]
    wrong = "error" if name == "langfuse" else said["error"]  # it tells no names
    assert (records[3]["error_type"].rpartition(".")[2], said["error"]) == (wrong, "BadRequestError")
    vendors = {"langfuse": {"unknown"}, "mlflow": {"openai", "unknown"}}.get(name, {"openai"})
    assert {each["provider"] for each in records} == vendors
    assert {each["arm"] for each in records} == {"external"}
    assert {each["deployment"] for each in records} == {f"otlp:{RUNS[name][0]}-bot"}
    first, streamed, embedded, _ = records
    assert [first["input_tokens"], first["output_tokens"]] == said["tokens"]
    assert first["cost_usd"] == pytest.approx((said["tokens"][0] + 2 * said["tokens"][1]) / 1e6)
    assert (first["finish_reason"], said["tools"]) == ("tool_calls", 2)
    assert streamed["output_tokens"] == 3
    assert embedded["input_tokens"] == 3
    assert embedded["cost_usd"] == pytest.approx(3 * 0.02 / 1e6)  # by the table that comes with Airboss
    assert embedded["attempts"][0]["priced_by"].startswith("20")
    if not name.startswith("opentelemetry"):  # which does not say
        assert streamed["stream"]
        assert 0 < streamed["ttft_ms"] <= streamed["latency_ms"]
        assert {each["user"] for each in records} == {"ann"}
    if name != "openllmetry":
        assert {each["session"] for each in records} == ({"s-1"})


def test_what_was_said(seen: tuple[str, Said, list[Said], list[Said]]) -> None:
    """Messages, tools, calls of tools and their results are as OpenAI's chat has them, where sent."""
    name, said, records, _ = seen
    first, streamed, _, failed = records
    if name == "opentelemetry":  # by default it keeps them to itself
        assert {each["request"] for each in records} == {None}
        return
    assert first["request"]["messages"][0] == {"role": "system", "content": "be kind"}
    assert (first["request"]["temperature"], first["request"]["max_tokens"]) == (0.5, 50)
    assert first["response"].get("id") == (None if name == "langfuse" else said["ids"][0])
    message = first["response"]["choices"][0]["message"]
    assert [each["function"]["name"] for each in message["tool_calls"]] == ["weather", "weather"]
    roles = [each["role"] for each in streamed["request"]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert streamed["request"]["messages"][3]["content"] == "sunny"
    assert streamed["response"]["choices"][0]["message"]["content"] == said["text"] == "Take an umbrella."
    assert "context-length" in failed["request"]["messages"][0]["content"]
    if not name.startswith("opentelemetry"):  # it does not write them
        assert first["request"]["tools"][0]["function"]["name"] == "weather"


def test_the_tree(seen: tuple[str, Said, list[Said], list[Said]]) -> None:
    """The agent is above its calls and its tools, in order of time; each call leads to its record."""
    _, _, records, rows = seen
    assert [(row["depth"], row["kind"]) for row in rows] == [
        (0, "agent"),
        *((1, kind) for kind in ("llm", "tool", "tool", "llm", "embedding", "llm")),
    ]
    assert "planner" in rows[0]["name"]
    assert {row["parent_id"] for row in rows[1:]} == {rows[0]["span_id"]}
    assert [row["record"] for row in rows if row["record"]] == [each["id"] for each in records]
    assert rows[-1]["status"] == "error"


@pytest.mark.parametrize(
    ("client", "joined"),
    [("opentelemetry", 0), ("openllmetry", 4), ("openinference", 4), ("langfuse", 4), ("mlflow", 4)],
)
def test_calls_through_the_gateway_are_counted_once(
    request: pytest.FixtureRequest, client: str, joined: int
) -> None:
    """OpenTelemetry's span names the gateway's address, OpenLLMetry passes `traceparent` on, OpenInference
    and MLflow name the answer, or have asked the same in the same moment (embeddings, and calls that failed),
    as Langfuse always does."""
    command(client)
    running: Airboss = request.getfixturevalue("airboss")
    base, key = running.ready["base_url"], running.ready["api_key"]
    held = {each["id"] for each in running.records()}
    trace = told(client, base, key, base, "protobuf")["trace"]
    api = {"authorization": f"Bearer {running.ready['admin_key']}"}
    page = f"{running.ready['console_url']}/api/v1/traces/{trace}"

    def whole() -> list[Said]:
        rows: list[Said] = httpx2.get(page, headers=api).json().get("rows", [])
        rows = [row for row in rows if not row["name"].startswith("gen_ai.")]  # log records
        return rows if len(rows) == 7 + joined and len(calls()) == 4 else []

    def calls() -> list[Said]:
        return [each for each in running.records() if each["id"] not in held][::-1]

    rows = until(whole, timeout_s=60.0)
    found = calls()
    ours = [row["record"] for row in rows if row["gateway"]]
    assert len(ours) == joined
    of_gateway = [each["id"] for each in found if each["arm"] == "stable"]
    assert len(of_gateway) == 4
    clients = [row["record"] for row in rows if row["kind"] in {"llm", "embedding"} and not row["gateway"]]
    assert clients[:joined] == ours == of_gateway[:joined]


def test_alike_calls_at_once_are_not_mixed_up(request: pytest.FixtureRequest) -> None:
    """The same embeddings, 24 times, six at once, by one who names neither trace nor answer: none counts
    twice, and a call that stands below a client's span is that client's."""
    command("openinference")
    running: Airboss = request.getfixturevalue("airboss")
    base, key = running.ready["base_url"], running.ready["api_key"]
    held = {each["id"] for each in running.records()}
    said = told("openinference", base, key, base, "at-once")
    api = {"authorization": f"Bearer {running.ready['admin_key']}"}
    page = f"{running.ready['console_url']}/api/v1/traces/{said['trace']}"

    def whole() -> list[Said]:
        rows: list[Said] = httpx2.get(page, headers=api).json().get("rows", [])
        return rows if sum(row["gateway"] for row in rows) == 24 else []

    rows = until(whole, timeout_s=60.0)
    assert {each["id"] for each in running.records()} - held == set(said["records"])
    by_span = {row["span_id"]: row for row in rows}
    placed = 0
    for row in rows:
        client = by_span.get(row["parent_id"])
        if row["gateway"] and client is not None and client["kind"] == "embedding":
            assert by_span[client["parent_id"]]["name"] == row["record"]
            placed += 1
    print(f"{placed} of 24 below their clients")  # noqa: T201 - what varies


@pytest.mark.parametrize("mode", ["genai", "legacy"])
def test_vercels_calls(request: pytest.FixtureRequest, fake_process: FakeProvider, mode: str) -> None:
    """As the AI SDK tells them today and did in its versions before: each call is one record, within what it
    calls an agent, a step or an operation; and through the gateway it is counted once."""
    command("vercel-ai-traced")  # skips before anything is started
    airboss: Airboss = request.getfixturevalue("airboss")
    base, key = airboss.ready["base_url"], airboss.ready["api_key"]
    for provider in (fake_process.url, base):
        held = {each["id"] for each in airboss.records()}
        said = told("vercel-ai-traced", base, key, provider, mode)

        def calls(held: set[str] = held) -> list[Said]:
            found = [each for each in airboss.records() if each["id"] not in held]
            return found[::-1] if len(found) >= 4 else []

        first, streamed, embedded, failed = until(calls, timeout_s=60.0)
        assert (said["text"], said["tools"], said["error"]) == ("Take an umbrella.", 2, "AI_APICallError")
        assert [first["input_tokens"], first["output_tokens"]] == said["tokens"]
        assert (first["finish_reason"], first["response"]["id"]) == ("tool_calls", said["ids"][0])
        assert (streamed["stream"], streamed["output_tokens"]) == (True, 3)
        assert (embedded["operation"], embedded["input_tokens"]) == ("embeddings", 3)
        assert (embedded["request"]["input"], failed["status"]) == (["a vector please"], "error")
        assert first["request"]["tools"][0]["function"]["name"] == "weather"
        api = {"authorization": f"Bearer {airboss.ready['admin_key']}"}
        page = f"{airboss.ready['console_url']}/api/v1/traces/{said['trace']}"

        def told_of(page: str = page, api: dict[str, str] = api) -> bool:
            rows = httpx2.get(page, headers=api).json().get("rows", [])
            return sum(row["record"] is not None for row in rows if not row["gateway"]) == 4

        assert until(told_of, timeout_s=60.0)
        assert len(calls()) == 4
        if provider != base:
            assert {each["arm"] for each in (first, streamed, embedded, failed)} == {"external"}
            if mode == "genai":
                assert {each["user"] for each in (first, streamed, embedded, failed)} == {"ann"}
        else:
            assert {each["arm"] for each in (first, streamed, embedded, failed)} == {"stable"}
