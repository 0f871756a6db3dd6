"""What LangChain makes of an Airboss, by OpenAI's chat, OpenAI's Responses and Anthropic's Messages:
`use_langchain.py URL KEY MODEL MODE`, JSON out. `MODE` is `local` or `fake`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Point(BaseModel):
    """A structured answer."""

    a: int


@tool
def weather(city: str, days: int) -> str:
    """The weather somewhere."""
    return f"sunny for {days} in {city}"


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


def failure(call: Callable[[], Any]) -> dict[str, Any]:
    """The error that a call ends with: the SDK's below, which LangChain lets through."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - of two SDKs
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"error": kinds[0], "status": getattr(error, "status_code", None), "kinds": kinds}
    return {"error": None}


def plain(message: Any) -> str:
    """A message's text."""
    return str(message.text)


def every(make: Callable[..., Any], label: str) -> dict[str, Any]:
    """What one of its chat models makes of it."""
    model, once = make(max_retries=2), make(max_retries=0)
    whole = model.invoke(fake(words=4))
    pieces = list(model.stream(fake(words=4)))
    said = HumanMessage(fake(fault="tool-split"))
    called = model.bind_tools([weather]).invoke([said])
    results = [ToolMessage(weather.invoke(c["args"]), tool_call_id=c["id"]) for c in called.tool_calls]
    turns = [said, called, *results, HumanMessage(fake(text="Sunny."))]
    faults = ("429", "500", "503", "context-length")
    return {
        "text": plain(whole),
        "usage": whole.usage_metadata["output_tokens"],
        "streamed": "".join(map(plain, pieces)),
        "stream_usage": sum(p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata),
        "tools": [call["args"]["days"] for call in called.tool_calls],
        "answer": plain(model.bind_tools([weather]).invoke(turns)),
        "structured": model.with_structured_output(Point, method="json_schema")
        .invoke(fake(text='{"a": 7}'))
        .a,
        "errors": {f: failure(lambda f=f: once.invoke(fake(fault=f))) for f in faults}  # type: ignore[misc]
        | {"cut": failure(lambda: list(once.stream(fake(fault="cut-reset", words=20))))},
        "retried": plain(
            model.invoke(fake(fault="503", first=1, text=f"in the end, {label}", retry_after="1"))
        ),
    }


def main() -> None:
    """Call, and tell."""
    url, key, name, mode = sys.argv[1:]
    openai = {"base_url": f"{url}/v1", "api_key": key, "model": name}
    makes: dict[str, Callable[..., Any]] = {
        "chat": lambda **more: ChatOpenAI(**openai, stream_usage=True, **more),
        "responses": lambda **more: ChatOpenAI(**openai, use_responses_api=True, **more),
        "messages": lambda **more: ChatAnthropic(
            base_url=url, api_key=key, model_name=name, max_tokens=more.pop("max_tokens", 500), **more
        ),
    }
    told: dict[str, Any] = {}
    for label, make in makes.items():
        if mode == "local":
            model = make(max_tokens=12, temperature=0)
            streamed = "".join(map(plain, model.stream("Say hello.")))
            told[label] = {"text": plain(model.invoke("Say hello.")), "streamed": streamed}
        else:
            told[label] = every(make, label)
    if mode != "local":
        # Its own cutting into tokens would fetch a vocabulary.
        vectors = OpenAIEmbeddings(
            base_url=f"{url}/v1", api_key=key, model=name, check_embedding_ctx_length=False
        )
        told["vectors"] = [len(each) for each in vectors.embed_documents(["one", "two"])]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
