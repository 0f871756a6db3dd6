"""What a tool has shown in a conversation of Responses that another kind of model goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import say

URL = "data:image/png;base64,AAAA"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
SAID = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}


def test_each_message_is_kept_once(tmp_path: Path, upstream: SaidUpstream) -> None:
    """Servers of OpenAI's dialect are shown it by the user, which is one message more there; what is kept has
    it where it was."""
    plans = (
        deployment(upstream.url, name="gemini", aliases=(), kind="gemini", upstream_model="gemini-3-pro"),
        deployment(upstream.url, name="other", aliases=()),
    )
    candidate = {"content": {"role": "model", "parts": [{"text": "Seen."}]}, "finishReason": "STOP"}
    upstream.reset()
    upstream.body = {"candidates": [candidate]}
    shown = {"type": "input_image", "image_url": URL}
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "look"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [shown]},
    ]
    with Gateway(tmp_path, *plans) as gateway:
        made = say(gateway, "responses", model="gemini", tools=[TOOL], input=items).json()
        upstream.body = {"id": "u", "object": "chat.completion", "model": "up", "choices": [SAID]}
        for words in ("more", "and more", "enough"):
            made = say(gateway, "responses", words, model="other", previous_response_id=made["id"]).json()
        with gateway.client() as client:
            kept = client.get(f"/v1/responses/{made['id']}/input_items", params={"order": "asc"}).json()
    said = [(each["role"], each["content"]) for each in json.loads(upstream.seen[-1])["messages"]]
    pictures = [
        {"type": "text", "text": "Shown by call c1:"},
        {"type": "image_url", "image_url": {"url": URL}},
    ]
    assert said == [
        ("user", "look"),
        ("assistant", None),
        ("tool", "Shown below."),
        ("user", pictures),
        ("assistant", "Seen."),
        ("user", "more"),
        ("assistant", "Yes."),
        ("user", "and more"),
        ("assistant", "Yes."),
        ("user", "enough"),
    ]
    assert [each["type"] for each in kept["data"]][:4] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert len(kept["data"]) == len(said) - 1


def test_azures_chat_is_shown_it_by_the_user(tmp_path: Path, upstream: SaidUpstream) -> None:
    """Behind the results, as OpenAI's own is: both take words alone in these."""
    azure = deployment(upstream.url, name="azure", aliases=(), kind="azure", responses=False)
    upstream.reset()
    upstream.body = {"id": "u", "object": "chat.completion", "model": "up", "choices": [SAID]}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [picture]}]},
    ]
    with Gateway(tmp_path, azure) as gateway:
        say(gateway, "messages", model="azure", messages=turns)
    *_, result, shown = json.loads(upstream.seen[-1])["messages"]
    assert (result["role"], result["content"]) == ("tool", "Shown below.")
    assert (shown["role"], shown["content"][1]) == ("user", {"type": "image_url", "image_url": {"url": URL}})
