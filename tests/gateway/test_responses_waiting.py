"""Responses that wait for their client's answer, and what builds on them, in front of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.test_responses_native import ANSWER, native
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import say


@pytest.fixture
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        yield running


CALL = {"type": "custom_tool_call", "id": "ctc_1", "status": "completed", "call_id": "c1", "name": "patch"}
WAITING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a tool of text": (
        CALL | {"input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ),
    "an approval": (
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "t", "server_label": "s", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    ),
    "a screen": (
        {"type": "computer_call", "id": "cu_1", "call_id": "c1", "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "c1", "output": {"type": "computer_screenshot"}},
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", WAITING)
def test_what_the_client_answers_is_there(
    tmp_path: Path, upstream: SaidUpstream, name: str, stream: bool
) -> None:
    """A conversation goes on from calls that chat has no words for, turn after turn: the provider finds each
    with what was answered. A server of chat hears nothing of that."""
    asked, answered = WAITING[name]

    def say_so(id_: str, *output: dict[str, Any]) -> None:
        made = json.loads(ANSWER) | {"id": id_, "output": list(output)}
        upstream.body, upstream.done = made, False
        upstream.events = (
            [json.dumps({"type": "response.completed", "sequence_number": 0, "response": made})]
            if stream
            else []
        )

    plans = native(upstream.url, aliases=("gpt-4o",)), deployment(upstream.url, name="chat", aliases=())
    with Gateway(tmp_path / "g", *plans) as gateway:
        first: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "do"}]}]
        say_so("resp_1", asked)
        assert say(gateway, "responses", first, stream=stream).status_code == 200
        say_so("resp_2", {"type": "message", "role": "assistant", "content": []}, asked)
        say(gateway, "responses", [answered], previous_response_id="resp_1", stream=stream)
        say_so("resp_3")
        say(gateway, "responses", [answered], previous_response_id="resp_2", stream=stream)
        # By the id of a custom tool's call OpenAI would look for what it does not keep.
        left_out = ("id", "status") if "input" in asked else ()
        call = {member: value for member, value in asked.items() if member not in left_out}
        empty = {"type": "message", "role": "assistant", "content": ""}
        assert json.loads(upstream.seen[-1])["input"] == [*first, call, answered, empty, call, answered]
        upstream.stream([{"content": "Yes."}])
        upstream.done = True
        say(gateway, "responses", "and?", model="chat", previous_response_id="resp_3", stream=True)
        assert b"responses_items" not in upstream.seen[-1]
