"""Records of Anthropic's Messages and OpenAI's Responses, as one record is shown."""

from __future__ import annotations

from typing import Any

from airboss.console.conversation import conversation
from airboss.console.curl import curl
from airboss.store.memory import MemoryRecordLog
from tests.console.site import BASE_URL, Site, put, sample

MESSAGES: dict[str, Any] = {
    "request": {
        "model": "m",
        "max_tokens": 9,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Weather?"}]}],
    },
    "response": {
        "type": "message",
        "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "t", "name": "look_up", "input": {"city": "Nîmes"}},
        ],
        "stop_reason": "tool_use",
    },
}
RESPONSES: dict[str, Any] = {
    "request": {"model": "m", "instructions": "Be kind.", "input": "Weather?"},
    "response": {
        "object": "response",
        "status": "completed",
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Let me see."}],
            },
            {"type": "function_call", "call_id": "t", "name": "look_up", "arguments": '{"city":"Nîmes"}'},
        ],
    },
}


def test_conversations() -> None:
    """Both read as the same turns as in chat."""
    for bodies in (MESSAGES, RESPONSES):
        found = conversation(sample(operation="chat", **bodies))
        assert [(turn.role, turn.blocks[0].text) for turn in found.head] == [
            ("system", "Be kind."),
            ("user", "Weather?"),
        ]
        (answer,) = found.answers
        assert [block.kind for block in answer.blocks] == ["text", "tool_call"]
        assert answer.blocks[0].text == "Let me see."
        assert found.error is None


def test_errors() -> None:
    """An error in Anthropic's shape is shown as one."""
    error = {"type": "error", "error": {"type": "api_error", "message": "no", "code": None, "param": None}}
    found = conversation(sample(operation="chat", request=MESSAGES["request"], response=error))
    assert found.error == "no"


def test_curl_has_nothing_that_only_airboss_may_send() -> None:
    """What a tuning tried is left out, and the page says so: the pasted command would be refused."""
    tried = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
    log = MemoryRecordLog()
    put(
        log,
        sample(id="tried", operation="chat", request={**tried, "release_variant": {"prompt": "Be kind."}}),
    )
    person = Site(log=log).person()
    page = person.get("/records/tried").text
    command = page.partition("curl -sS")[2].partition("</pre>")[0]
    assert "release_variant" not in command
    assert "tried another prompt or model" in page
    assert person.get("/records/tried/request.json").json() == tried
    put(log, sample(id="plain", operation="chat", request=tried))
    assert "tried another prompt" not in person.get("/records/plain").text


def test_curl() -> None:
    """The command goes to the route that the client called."""
    for bodies, path in ((MESSAGES, "/messages"), (RESPONSES, "/responses")):
        command = curl(sample(operation="chat", **bodies), base_url=BASE_URL)
        assert command is not None
        assert f"{BASE_URL.rstrip('/')}{path}" in command
