"""What Anthropic's own client makes of an Airboss: `use_anthropic_python.py URL KEY MODEL MODE`,
one JSON object out, the same in either mode.

It runs in the environment of `make test-clients`, which knows nothing of Airboss.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

TOOLS = [
    {
        "name": "look_up",
        "description": "Looks the weather up.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


def seen(message: Any) -> dict[str, Any]:
    """What a message says, as JSON."""
    return {
        "id": message.id,
        "content": [block.model_dump(exclude_none=True) for block in message.content],
        "stop_reason": message.stop_reason,
        "usage": message.usage.model_dump(exclude_none=True),
    }


def whole_and_streamed(client: Any, **body: Any) -> dict[str, Any]:
    """One call in both ways."""
    whole = client.messages.create(**body)
    with client.messages.stream(**body) as stream:
        kinds = [event.type for event in stream]
        last = stream.get_final_message()
    return {"whole": seen(whole), "request_id": whole._request_id, "streamed": seen(last), "events": kinds}


def failure(call: Any) -> dict[str, Any]:
    """The error that a call ends with."""
    try:
        made = call()
    except anthropic.APIStatusError as error:
        return {"error": type(error).__name__, "status": error.status_code, "body": error.body}
    return {"error": None, "made": seen(made)}


def streamed(client: Any, **body: Any) -> Any:
    """A streamed call, to its end."""
    with client.messages.stream(**body) as stream:
        return stream.get_final_message()


def main() -> None:
    """Call, and tell."""
    url, key, model, _mode = sys.argv[1:]
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
    base: dict[str, Any] = {"model": model, "max_tokens": 50}
    told: dict[str, Any] = {}
    said = fake(words=4, cached_tokens=2)
    told["text"] = whole_and_streamed(client, **base, messages=[{"role": "user", "content": said}])
    tools = [{"role": "user", "content": fake(fault="tool-split")}]
    told["tools"] = whole_and_streamed(client, **base, tools=TOOLS, messages=tools)
    content = told["tools"]["streamed"]["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "sunny"}
        for block in content
        if block["type"] == "tool_use"
    ]
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [*results, {"type": "text", "text": "So?"}]},
    ]
    told["results"] = whole_and_streamed(client, **base, tools=TOOLS, messages=turns)
    for fault in ("429", "500", "503", "context-length"):
        asked = [{"role": "user", "content": fake(fault=fault)}]
        told[fault] = failure(lambda asked=asked: client.messages.create(**base, messages=asked))
    for fault in ("cut-end", "cut-reset", "error-mid-stream"):
        asked = [{"role": "user", "content": fake(fault=fault, words=20)}]
        told[fault] = failure(lambda asked=asked: streamed(client, **base, messages=asked))
    hi = [{"role": "user", "content": "hi"}]
    told["model"] = failure(lambda: client.messages.create(model="nobody", max_tokens=5, messages=hi))
    stranger = anthropic.Anthropic(base_url=url, api_key="ab_nobody", max_retries=0)
    told["key"] = failure(lambda: stranger.messages.create(**base, messages=hi))
    told["models"] = [each.display_name for each in client.models.list() if each.created_at.year > 2000]
    told["one"] = client.models.retrieve(model).id
    told["count"] = client.messages.count_tokens(model=model, messages=hi).input_tokens
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
