"""Spans go in and calls go out of a whole Airboss, and no kill loses or doubles one."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss, run_airboss
from tests.support.otlp import JSON, PROTOBUF, TRACE, as_protobuf, llm, log, logs, pairs, request, span
from tests.support.otlp_backend import Backend, attributes
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

[telemetry]
otlp = {{ endpoint = "{backend}" }}
"""

MESSAGES = CONFIG.partition("[telemetry]")[0]
EVALUATED = "gen_ai.evaluation.result"
SILENT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
}

WAITS_S, TRIES = 10.0, 6
"""So long a call whose span says nothing of it waits for what was said."""


def test_traces_in_and_calls_out(tmp_path: Path) -> None:
    """A traced call through the gateway is one record, a span of the backend's and a row of its trace; one
    beside the gateway becomes a record; the controller and the store are killed in between."""
    with FakeProvider() as provider, Backend() as backend:
        config = CONFIG.format(url=provider.url, backend=backend.url)
        with closing(Airboss(tmp_path / "a", config).start()) as airboss, airboss.client() as client:
            run(airboss, backend, client)


def run(airboss: Airboss, backend: Backend, client: httpx2.Client) -> None:
    """The journey."""
    parent = f"{2:016x}"
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"traceparent": f"00-{TRACE}-{parent}-01"}
    record = client.post("/chat/completions", json=body, headers=headers).headers["x-request-id"]
    judged = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.5}
    event = {"timeUnixNano": span(1)["startTimeUnixNano"], "name": EVALUATED, "attributes": pairs(judged)}
    spans = [
        *(span(1, attributes={"user.id": "ann"}), llm(2, 1, events=[event])),
        *(llm(3, 1), span(4, 1), span(5, 3, name=EVALUATED, attributes=judged)),
    ]
    for name in ("controller", "store"):
        pid = airboss.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        said = request(*spans)
        for content, kind in ((json.dumps(said).encode(), JSON), (as_protobuf(said), PROTOBUF)):
            assert client.post("/traces", content=content, headers=kind).status_code == 200

    api = {"authorization": f"Bearer {airboss.ready['admin_key']}"}

    def records() -> list[dict[str, Any]]:
        try:
            answer = httpx2.get(f"{airboss.ready['console_url']}/api/v1/records", headers=api)
        except httpx2.TransportError:
            return []  # it is only starting again
        found: list[dict[str, Any]] = answer.json()["records"] if answer.status_code == 200 else []
        return found if len(found) >= 2 else []

    found = until(records, timeout_s=60.0)
    assert {each["arm"] for each in found} == {"stable", "external"}
    (told,) = [each for each in found if each["arm"] == "external"]
    assert (told["trace_id"], told["user"], told["cost_usd"]) == (TRACE, "ann", 0.00002)
    tree = until(lambda: said if (said := airboss.api(f"traces/{TRACE}"))["spans"] == 6 else None)
    by_span = {row["span_id"]: row["record"] for row in tree["rows"]}
    assert by_span[parent] == record
    assert by_span[f"{3:016x}"] == told["id"]
    shown = airboss.verb("records", "--trace", TRACE).splitlines()
    assert len(shown) == 7
    assert told["id"] in next(line for line in shown if "span 3" in line)
    remote = ("records", "--trace", TRACE, "--json", "--url", airboss.ready["console_url"])
    done = run_airboss(*remote, cwd=airboss.root, env={"AIRBOSS_ADMIN_KEY": airboss.ready["admin_key"]})
    assert json.loads(done.stdout) == tree
    sent = until(lambda: backend.spans, timeout_s=60.0)
    metrics = airboss.ready["base_url"].removesuffix("/v1") + "/metrics"
    until(lambda: "airboss_otlp_lag_seconds" in httpx2.get(metrics).text)
    assert {each.span_id.hex() for each in sent} == {record.replace("-", "")[16:]}
    assert sent[0].parent_span_id.hex() == parent
    assert attributes(sent[0])["airboss.record.id"] == record
    assert len(airboss.records()) == 2
    until(lambda: all(each["scores"] == {"Relevance": 0.5} for each in airboss.records()), timeout_s=60.0)
    url = f"{airboss.ready['console_url']}/api/v1/records/{record}/scores"
    (score,) = httpx2.get(url, headers=api).json()["scores"]
    assert (score["source"], score["by"]) == ("scorer", "default")


def alive(pid: int | None) -> bool:
    """Whether there is such a process."""
    return pid is not None and Path(f"/proc/{pid}").exists()


def test_messages_find_their_call_over_kills(tmp_path: Path) -> None:
    """What was said before, with and after a call's span, each with all of Airboss killed in between and each
    sent twice, is the one record's request and response, and text search finds it."""
    with FakeProvider() as provider:
        for number in range(TRIES):
            with Airboss(tmp_path / f"{number}", MESSAGES.format(url=provider.url)) as airboss:
                if messages_found(airboss):
                    return
    pytest.fail(f"no start was over before a call waits no longer for its messages, in {TRIES} tries")


def messages_found(airboss: Airboss) -> bool:
    """Whether they were; no, where they came too late for that, because Airboss took so long to start."""
    answer = {"index": 0, "message": {"content": "sent by bike"}}
    parts = [
        ("logs", logs(log("gen_ai.user.message", body={"content": "parcel 4711"}))),
        ("traces", request(span(1, attributes=SILENT))),
        ("logs", logs(log("gen_ai.choice", body=answer))),
    ]
    sent: list[float] = []
    for number, (path, content) in enumerate(parts):
        sent.append(time.monotonic())
        for _ in range(2):
            with airboss.client() as client:
                assert client.post(f"/{path}", json=content).status_code == 200
        if number < 2:
            assert airboss.process is not None
            children = [airboss.pid(name) for name in ("gateway-0", "controller", "store")]
            for pid in (*children, airboss.process.pid):
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            airboss.process.wait()
            until(lambda children=children: not any(map(alive, children)))  # type: ignore[misc]
            airboss.start()
    airboss.settled()
    if time.monotonic() - sent[1] > WAITS_S:
        return False
    (told,) = until(airboss.records, timeout_s=60.0)
    assert told["request"]["messages"] == [{"role": "user", "content": "parcel 4711"}]
    assert told["response"]["choices"][0]["message"]["content"] == "sent by bike"
    assert [each["id"] for each in airboss.records("--search", "bike")] == [told["id"]]
    return True
