"""What OpenAI's own Python client makes of an Airboss: `use_openai_python.py URL KEY MODEL MODE`, JSON out.

`MODE` is `local` for a real model, which is asked for little, or `fake` for the fake provider, which does
what it is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import openai
from pydantic import BaseModel

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Point(BaseModel):
    """A structured answer."""

    a: int


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


def user(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def failure(call: Callable[[], Any]) -> dict[str, Any]:
    """The error that a call ends with."""
    try:
        call()
    except openai.OpenAIError as error:
        code = getattr(error, "code", None)
        return {"error": type(error).__name__, "status": getattr(error, "status_code", None), "code": code}
    return {"error": None}


def chat(client: openai.OpenAI, model: str, said: str, **more: Any) -> dict[str, Any]:
    """One call, whole and streamed."""
    whole = client.chat.completions.create(model=model, messages=user(said), **more)
    stream = client.chat.completions.create(
        model=model, messages=user(said), stream=True, stream_options={"include_usage": True}, **more
    )
    chunks = list(stream)
    return {
        "text": whole.choices[0].message.content,
        "finish": whole.choices[0].finish_reason,
        "tokens": [whole.usage.prompt_tokens, whole.usage.completion_tokens] if whole.usage else None,
        "streamed": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "stream_tokens": [chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens]
        if chunks[-1].usage
        else None,
    }


def tools(client: openai.OpenAI, model: str) -> dict[str, Any]:
    """Two calls in one answer, and their results."""
    said = user(fake(fault="tool-split"))
    message = client.chat.completions.create(model=model, messages=said, tools=[WEATHER]).choices[0].message
    calls: Any = message.tool_calls or ()
    with client.chat.completions.stream(model=model, messages=said, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        last = stream.get_final_completion().choices[0].message
    turns: Any = [*said, message.model_dump(exclude_none=True)]
    turns += [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in calls]
    turns += user(fake(text="Sunny."))
    answer = client.chat.completions.create(model=model, messages=turns, tools=[WEATHER])
    return {
        "calls": [json.loads(c.function.arguments) for c in calls],
        "streamed": [json.loads(c.function.arguments) for c in last.tool_calls or ()],
        "answer": answer.choices[0].message.content,
    }


def responses(client: openai.OpenAI, model: str) -> dict[str, Any]:
    """Responses: whole, streamed, gone on from, fetched, listed and deleted."""
    first = client.responses.create(model=model, input=fake(text="One."))
    with client.responses.stream(model=model, input=fake(text="Two words.")) as stream:
        kinds = [event.type for event in stream]
        last = stream.get_final_response()
    second = client.responses.create(model=model, input=fake(echo=True), previous_response_id=first.id)
    parsed = client.responses.parse(model=model, input=fake(text='{"a": 7}'), text_format=Point)
    tool: Any = {"type": "function", "strict": False, **WEATHER["function"]}
    called = client.responses.create(model=model, input=fake(fault="tool-call"), tools=[tool])
    search: Any = [{"type": "web_search"}]
    hosted = client.responses.create(model=model, input=fake(text="Found."), tools=search)
    with client.responses.stream(model=model, input=fake(text="Found."), tools=search) as stream:
        searched = [event.type for event in stream]
    fetched = client.responses.retrieve(first.id)
    items = [item.type for item in client.responses.input_items.list(second.id)]
    client.responses.delete(first.id)
    return {
        "text": first.output_text,
        "events": kinds,
        "streamed": last.output_text,
        "previous": second.previous_response_id == first.id,
        "parsed": parsed.output_parsed.a if parsed.output_parsed else None,
        "called": [item.name for item in called.output if item.type == "function_call"],
        "hosted": [item.type for item in hosted.output],
        "searched": "response.web_search_call.searching" in searched,
        "fetched": fetched.output_text,
        "items": items,
        "gone": failure(lambda: client.responses.retrieve(first.id)),
    }


def others(client: openai.OpenAI, model: str) -> dict[str, Any]:
    """The routes besides."""
    vectors = client.embeddings.create(model=model, input=["one", "two"]).data
    file = client.files.create(file=("a.jsonl", b'{"x": 1}\n'), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    heard = client.audio.transcriptions.create(model=model, file=("a.wav", b"RIFF"))
    listened = client.audio.transcriptions.create(model=model, file=("a.wav", b"RIFF"), stream=True)
    pictures = client.images.generate(model=model, prompt="a deck").data
    return {
        "vectors": [len(each.embedding) for each in vectors],
        "completion": client.completions.create(model=model, prompt=fake(text="so it is")).choices[0].text,
        "models": [each.id for each in client.models.list()],
        "model": client.models.retrieve(model).id,
        "speech": len(client.audio.speech.create(model=model, voice="alloy", input="hello").content),
        "transcription": heard.text,
        "transcription_events": [event.type for event in listened],
        "images": len(pictures or ()),
        "moderation": client.moderations.create(input="hi").results[0].flagged,
        "file": client.files.content(file.id).content.decode(),
        "files": [each.id == file.id for each in client.files.list(purpose="batch")],
        "batch": client.batches.retrieve(batch.id).status,
        "deleted": client.files.delete(file.id).deleted,
    }


def errors(client: openai.OpenAI, url: str, model: str) -> dict[str, Any]:
    """Every kind of failure, with the class that it is to the client."""
    once = client.with_options(max_retries=0)
    told: dict[str, Any] = {}
    for fault in ("429", "500", "503", "context-length", "content-filter"):
        said = user(fake(fault=fault))
        told[fault] = failure(lambda said=said: once.chat.completions.create(model=model, messages=said))  # type: ignore[misc]
    cut = user(fake(fault="cut-reset", words=20))
    told["cut"] = failure(lambda: list(once.chat.completions.create(model=model, messages=cut, stream=True)))
    told["model"] = failure(lambda: once.chat.completions.create(model="nobody", messages=user("hi")))
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="ab_nobody", max_retries=0)
    told["key"] = failure(lambda: stranger.chat.completions.create(model=model, messages=user("hi")))
    slow = user(fake(fault="silence", for_s=3))
    short = client.with_options(timeout=0.3, max_retries=0)
    told["timeout"] = failure(lambda: short.chat.completions.create(model=model, messages=slow))
    broke = user(fake(fault="429", code="insufficient_quota"))
    told["quota"] = failure(lambda: client.chat.completions.create(model=model, messages=broke))
    for fault in ("429", "503"):
        said = user(fake(fault=fault, first=1, text="in the end", retry_after="1"))
        again = client.chat.completions.create(model=model, messages=said)
        told[f"{fault} once"] = again.choices[0].message.content
    return told


def main() -> None:
    """Call, and tell."""
    url, key, model, mode = sys.argv[1:]
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=2, timeout=60)
    if mode == "local":
        told: dict[str, Any] = {
            "chat": chat(client, model, "Say hello.", max_tokens=12, temperature=0, seed=7),
            "parsed": client.chat.completions.parse(
                model=model,
                messages=user("Give a number."),
                response_format=Point,
                max_tokens=40,
                temperature=0,
            )
            .choices[0]
            .message.content,
            "response": client.responses.create(
                model=model, input="Say hello.", max_output_tokens=12
            ).output_text,
        }
    else:
        parsed = client.chat.completions.parse(
            model=model, messages=user(fake(text='{"a": 7}')), response_format=Point
        )
        told = {
            "chat": chat(client, model, fake(words=4)),
            "tools": tools(client, model),
            "parsed": parsed.choices[0].message.parsed.a if parsed.choices[0].message.parsed else None,
            "responses": responses(client, model),
            "others": others(client, model),
            "errors": errors(client, url, model),
        }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
