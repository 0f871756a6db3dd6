"""What pydantic-ai makes of an Airboss, by chat and by Responses: `use_pydantic_ai.py URL KEY MODEL MODE`,
JSON out. `MODE` is `local` or `fake`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Point(BaseModel):
    """A structured answer."""

    a: int


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


async def streamed(agent: Any, said: str, **more: Any) -> str:
    """The pieces of a streamed answer, joined."""
    async with agent.run_stream(said, **more) as run:
        return "".join([piece async for piece in run.stream_text(delta=True)])


async def failure(agent: Any, said: str) -> dict[str, Any]:
    """The error that a call ends with."""
    try:
        await agent.run(said)
    except ModelHTTPError as error:
        return {"error": type(error).__name__, "status": error.status_code}
    return {"error": None}


async def every(model: Any, once: Any, label: str) -> dict[str, Any]:
    """What one of its models makes of it."""
    agent = Agent(model)
    days: list[int] = []
    weatherman = Agent(model)

    @weatherman.tool_plain
    def weather(city: str, days_ahead: int = 0, days: int = 0) -> str:
        """The weather somewhere."""
        seen.append(days)
        return f"sunny in {city}"

    seen = days
    whole = await agent.run(fake(words=4))
    answer = await weatherman.run(fake(fault="tool-split", first=1, text=f"Sunny, says {label}."))
    structured = await Agent(model, output_type=NativeOutput(Point)).run(fake(text='{"a": 7}'))
    faults = ("429", "500", "503", "context-length")
    return {
        "text": whole.output,
        "usage": whole.usage.output_tokens,
        "streamed": await streamed(agent, fake(words=4)),
        "tools": sorted(days),
        "answer": answer.output,
        "structured": structured.output.a,
        "errors": {fault: await failure(Agent(once), fake(fault=fault)) for fault in faults},
        "retried": (
            await agent.run(fake(fault="503", first=1, text=f"in the end, {label}", retry_after="1"))
        ).output,
    }


async def main() -> None:
    """Call, and tell."""
    url, key, name, mode = sys.argv[1:]

    def provider(retries: int) -> OpenAIProvider:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)
        return OpenAIProvider(openai_client=client)

    told: dict[str, Any] = {}
    for label, kind in (("chat", OpenAIChatModel), ("responses", OpenAIResponsesModel)):
        model, once = (kind(name, provider=provider(retries)) for retries in (2, 0))
        if mode == "local":
            agent: Any = Agent(model, model_settings={"max_tokens": 12, "temperature": 0})
            text = (await agent.run("Say hello.")).output
            told[label] = {"text": text, "streamed": await streamed(agent, "Say hello.")}
        else:
            told[label] = await every(model, once, label)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
