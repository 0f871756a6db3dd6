"""What LlamaIndex makes of an Airboss: `use_llama_index.py URL KEY MODEL MODE`, JSON out. `MODE` is `local`
or `fake`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Point(BaseModel):
    """A structured answer."""

    a: int


def weather(city: str, days: int) -> str:
    """The weather somewhere."""
    return f"sunny for {days} in {city}"


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


def user(text: str) -> list[ChatMessage]:
    """A conversation of one message."""
    return [ChatMessage(role="user", content=text)]


def failure(call: Callable[[], Any]) -> dict[str, Any]:
    """The error that a call ends with: OpenAI's SDK's, which LlamaIndex lets through."""
    try:
        call()
    except openai.OpenAIError as error:
        return {"error": type(error).__name__, "status": getattr(error, "status_code", None)}
    return {"error": None}


def main() -> None:
    """Call, and tell."""
    url, key, name, mode = sys.argv[1:]

    def make(**more: Any) -> Any:
        given = {"is_chat_model": True, "is_function_calling_model": True, "max_retries": 0, **more}
        return OpenAILike(model=name, api_base=f"{url}/v1", api_key=key, context_window=4096, **given)

    told: dict[str, Any] = {}
    if mode == "local":
        model = make(max_tokens=12, temperature=0)
        pieces = [piece.delta or "" for piece in model.stream_chat(user("Say hello."))]
        told = {"text": model.chat(user("Say hello.")).message.content, "streamed": "".join(pieces)}
    else:
        model = make()
        tool = FunctionTool.from_defaults(fn=weather)
        called = model.chat_with_tools(
            [tool], user_msg=fake(fault="tool-split"), allow_parallel_tool_calls=True
        )
        calls = model.get_tool_calls_from_response(called, error_on_no_tool_call=True)
        structured = make(should_use_structured_outputs=True).as_structured_llm(Point)
        vectors = OpenAILikeEmbedding(model_name=name, api_base=f"{url}/v1", api_key=key)
        faults = ("429", "500", "503", "context-length")
        told = {
            "text": model.chat(user(fake(words=4))).message.content,
            "streamed": "".join(piece.delta or "" for piece in model.stream_chat(user(fake(words=4)))),
            "completed": model.complete(fake(text="so it is")).text,
            "tools": [call.tool_kwargs["days"] for call in calls],
            "structured": structured.chat(user(fake(text='{"a": 7}'))).raw.a,
            "vectors": [len(each) for each in vectors.get_text_embedding_batch(["one", "two"])],
            "errors": {f: failure(lambda f=f: model.chat(user(fake(fault=f)))) for f in faults}  # type: ignore[misc]
            | {"cut": failure(lambda: list(model.stream_chat(user(fake(fault="cut-reset", words=20)))))},
            "retried": make(max_retries=2)
            .chat(user(fake(fault="503", first=1, text="in the end", retry_after="1")))
            .message.content,
        }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
