"""OpenAI's own client against the fake provider."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from airboss.testing import FakeProvider, ScriptStep


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[openai.OpenAI]:
    """A client that does not retry."""
    with openai.OpenAI(base_url=provider.url, api_key="sk-test", max_retries=0) as made:
        yield made


MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]


def test_chat(client: openai.OpenAI) -> None:
    """A whole answer with usage."""
    done = client.chat.completions.create(model="fake-ok;echo=true", messages=MESSAGES)
    assert done.choices[0].message.content == "one two three"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.total_tokens == 6


def test_chat_streamed(client: openai.OpenAI) -> None:
    """A stream with its usage at the end."""
    with client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).startswith("The air boss")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 3


def test_completions(client: openai.OpenAI) -> None:
    """The text route, whole and streamed, says the same."""
    done = client.completions.create(model="m", prompt="go", n=2)
    with client.completions.create(model="m", prompt="go", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == done.choices[0].text
    assert len(done.choices) == 2


def test_embeddings_and_models(client: openai.OpenAI) -> None:
    """Vectors come through the client's base64, models by name."""
    made = client.embeddings.create(model="m", input=["a", "a", "b"])
    vectors = [one.embedding for one in made.data]
    assert vectors[0] == vectors[1] != vectors[2]
    assert len(vectors[0]) == 64
    assert client.models.retrieve("fake-cut-reset").id in {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_tool_calls(client: openai.OpenAI) -> None:
    """Split arguments are put together by the client's own accumulator."""
    with client.chat.completions.stream(
        model="fake-tool-split",
        messages=MESSAGES,
        tools=[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert "Zürich" in str(calls[0].function.arguments.encode().decode("unicode_escape"))


def test_errors_are_what_the_client_knows(client: openai.OpenAI) -> None:
    """Statuses and codes map to its exceptions."""
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="fake-429", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake-context-length", messages=MESSAGES)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="fake-reset", messages=MESSAGES)


def test_retries_meet_a_script(provider: FakeProvider, client: openai.OpenAI) -> None:
    """A provider that recovers is seen to recover."""
    provider.script(
        "429;retry_after=0.01", ScriptStep(behaviour="status;status=503;retry_after=0.01", calls=2)
    )
    done = client.with_options(max_retries=3).chat.completions.create(model="m", messages=MESSAGES)
    assert done.choices
    assert [seen.fault for seen in provider.stats().last] == ["429", "status", "status", "ok"]
