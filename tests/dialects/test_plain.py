"""Chat made of other dialects, as servers of OpenAI's dialect are given it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.dialects.messages_answer import MessagesSpeech
from airboss.dialects.messages_request import messages_as_chat
from airboss.dialects.plain import arranged, plain_chat
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from tests.dialects.test_messages_request import CALL, IMAGE, MARK, THOUGHT, asked, assistant, text, user


def target(kind: ProviderKind, *hosts: str, model: str = "up") -> Target:
    """Of this kind, at these hosts."""
    urls = tuple(f"https://{host}/v1" for host in hosts or ("x.example",))
    return Target(provider="p", kind=kind, base_urls=urls, upstream_model=model)


def test_plain_takes_out_what_openai_does_not_know() -> None:
    """Thoughts and marks stay away from OpenAI's dialect; OpenAI itself gets the newer name of the limit."""
    body = json.dumps(
        asked(
            messages=[assistant(THOUGHT, text("a")), user(text("b", cache_control=MARK), text("c"))],
            tools=[{"name": "f", "cache_control": MARK}],
        )
    ).encode()
    said = messages_as_chat(body)
    assert said.rich
    plain = plain_chat(said.body, target("openai-compatible"), rich=True)
    assert b"thinking_blocks" not in plain
    assert b"cache_control" not in plain
    assert json.loads(plain)["max_tokens"] == 9
    openai = json.loads(plain_chat(said.body, target("openai"), rich=True))
    assert openai["max_completion_tokens"] == 9
    assert "max_tokens" not in openai
    assert plain_chat(said.body, target("local"), rich=False) is said.body


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize("then", [[], [text("so?")], "assistant"])
def test_what_a_tool_shows_is_shown_by_the_user(then: Any) -> None:
    """OpenAI takes words alone in a tool's result; a picture goes behind all results, and names its call."""
    results = [
        {"type": "tool_result", "tool_use_id": "a", "content": [text("a deck"), IMAGE]},
        {"type": "tool_result", "tool_use_id": "b", "content": [IMAGE]},
        {"type": "tool_result", "tool_use_id": "c", "content": "no"},
    ]
    turns = [{"role": "user", "content": "x"}, assistant(*(CALL | {"id": name} for name in "abc"))]
    turns += [user(*results, *([] if then == "assistant" else then))]
    turns += [{"role": "assistant", "content": "Well,"}] if then == "assistant" else []
    chat = messages_as_chat(json.dumps(asked(messages=turns)).encode())
    there = target("openai-compatible")
    said = json.loads(arranged(plain_chat(chat.body, there, rich=chat.rich), there))["messages"]
    assert [(each["role"], each["content"]) for each in said[2:5]] == [
        ("tool", "a deck"),
        ("tool", "Shown below."),
        ("tool", "no"),
    ]
    shown = [text("Shown by call a:"), PICTURE, text("Shown by call b:"), PICTURE]
    assert said[5] == {"role": "user", "content": shown + (then if isinstance(then, list) else [])}
    assert [each["role"] for each in said[6:]] == (["assistant"] if then == "assistant" else [])


@pytest.mark.parametrize(
    ("kind", "hosts", "wanted"),
    [
        ("openai-compatible", ["api.deepseek.com"], True),
        ("openai-compatible", ["api.moonshot.ai", "api.moonshot.cn"], True),
        ("openai-compatible", ["api.deepseek.com", "api.mistral.ai"], False),
        ("openai-compatible", ["api.mistral.ai"], False),
        ("openai-compatible", ["api.groq.com"], False),
        ("openai-compatible", ["notdeepseek.com"], False),
        ("openai-compatible", ["127.0.0.1:8000"], False),
        ("azure", ["x.openai.azure.com"], False),
        ("openai", ["api.openai.com"], False),
        ("local", ["127.0.0.1:8000"], True),
    ],
)
def test_thoughts_go_back_where_they_are_wanted(kind: ProviderKind, hosts: list[str], wanted: bool) -> None:
    """Others refuse the whole conversation for them, which may have begun elsewhere."""
    unsigned = assistant({**THOUGHT, "signature": "reasoning_content"}, text("a"))
    thought = messages_as_chat(json.dumps(asked(messages=[unsigned])).encode())
    assert thought.rich
    plain = plain_chat(thought.body, target(kind, *hosts), rich=True)
    assert (b'"reasoning_content":"Well."' in plain) is wanted
    assert (b"reasoning_content" in plain) is wanted


@pytest.mark.parametrize("kind", ["openai", "azure", "openai-compatible"])
@pytest.mark.parametrize(("length", "sent"), [(64, 64), (65, 32), (170, 32)])
def test_a_long_user_is_sent_by_a_hash(kind: ProviderKind, length: int, sent: int) -> None:
    """Servers refuse a call for one, and Claude Code's are longer than any takes."""
    said = messages_as_chat(json.dumps(asked(metadata={"user_id": "u" * length})).encode())
    plain = json.loads(plain_chat(said.body, target(kind), rich=said.rich))
    assert len(plain["user"]) == sent


@pytest.mark.parametrize(
    ("kind", "model", "asks", "effort", "dropped"),
    [
        ("openai", "gpt-5.4-mini", True, "none", ("reasoning_effort",)),
        ("openai", "gpt-5.6-terra", False, "none", ()),
        ("azure", "gpt-6.2-sol", True, "none", ("reasoning_effort",)),
        ("openai", "gpt-5.2", True, "high", ()),
        ("openai", "gpt-5-mini", True, "high", ()),
        ("openai", "gpt-4.1", False, None, ()),
        ("openai-compatible", "openai/gpt-5.6-terra", True, "high", ()),
    ],
)
def test_models_that_call_tools_only_where_they_do_not_think(
    kind: ProviderKind, model: str, asks: bool, effort: str | None, dropped: tuple[str, ...]
) -> None:
    """OpenAI refuses them in chat otherwise, also where no effort is asked for; a header says so."""
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 20000}} if asks else {}
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    said = messages_as_chat(json.dumps(asked(tools=tools, **thinking)).encode())
    speech = MessagesSpeech(said)
    sent = json.loads(speech.plain(said.body, target(kind, model=model)))
    assert (sent.get("reasoning_effort"), speech.dropped) == (effort, dropped)
    speech.translated()
    assert speech.dropped == ()
    bare = messages_as_chat(json.dumps(asked(**thinking)).encode())
    alone = json.loads(MessagesSpeech(bare).plain(bare.body, target(kind, model=model)))
    assert alone.get("reasoning_effort") == ("high" if asks else None)


@pytest.mark.parametrize(
    ("kind", "host", "model", "wanted"),
    [
        ("openai-compatible", "llm.house.example", "deepseek-ai/DeepSeek-V4", True),
        ("openai-compatible", "llm.house.example", "zai-org/GLM-5", True),
        ("openai-compatible", "llm.house.example", "paradigm-1", False),
        ("openai-compatible", "api.groq.com", "moonshotai/kimi-k2", False),
        ("openai-compatible", "api.cerebras.ai", "zai-glm-4.7", False),
        ("azure", "x.openai.azure.com", "deepseek-v4", False),
    ],
)
def test_thoughts_go_back_to_models_behind_a_host_of_ones_own(
    kind: ProviderKind, host: str, model: str, wanted: bool
) -> None:
    """The model's name tells, but where its host is known to refuse them."""
    unsigned = assistant({**THOUGHT, "signature": "reasoning_content"}, CALL)
    thought = messages_as_chat(json.dumps(asked(messages=[unsigned])).encode())
    assert (
        b"reasoning_content" in plain_chat(thought.body, target(kind, host, model=model), rich=True)
    ) is wanted


@pytest.mark.parametrize(
    ("kind", "host", "model", "wanted"),
    [
        ("openai", "api.openai.com", "up", "high"),
        ("openai", "api.openai.com", "gpt-5-2025-08-07", "high"),
        ("openai", "api.openai.com", "gpt-5.1", "high"),
        ("openai", "api.openai.com", "gpt-5.1-codex-max", "xhigh"),
        ("openai", "api.openai.com", "gpt-5.4-mini", "xhigh"),
        ("openai", "api.openai.com", "gpt-5.6-sol", "max"),
        ("azure", "x.openai.azure.com", "gpt-6.2-astra", "max"),
        ("azure", "x.openai.azure.com", "gpt-35-turbo", "high"),
        ("openai-compatible", "openrouter.ai", "openai/gpt-5.10", "max"),
        ("openai-compatible", "api.groq.com", "openai/gpt-oss-120b", "high"),
        ("local", "127.0.0.1", "up", "high"),
        ("openai-compatible", "api.deepseek.com", "up", "max"),
    ],
)
def test_all_the_effort_that_there_is(kind: ProviderKind, host: str, model: str, wanted: str) -> None:
    """`max` goes to models that know it: others get the highest that they are known to have."""
    said = messages_as_chat(json.dumps(asked(output_config={"effort": "max"})).encode())
    sent = json.loads(MessagesSpeech(said).plain(said.body, target(kind, host, model=model)))
    assert sent["reasoning_effort"] == wanted
    more = messages_as_chat(json.dumps(asked(output_config={"effort": "xhigh"})).encode())
    assert b'"reasoning_effort":"xhigh"' in MessagesSpeech(more).plain(more.body, target(kind, host))


@pytest.mark.parametrize(
    ("kind", "model", "effort"),
    [
        ("openai", "gpt-4o-mini", None),
        ("azure", "gpt-4.1", None),
        ("openai", "gpt-5-mini", "high"),
        ("openai", "o4-mini", "high"),
    ],
)
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 20_000}])
def test_models_that_never_think_are_not_told_to(
    kind: ProviderKind, model: str, effort: str | None, thinking: dict[str, Any]
) -> None:
    """OpenAI refuses the call otherwise, and Anthropic's clients ask for it unasked; a header says so."""
    said = messages_as_chat(json.dumps(asked(thinking=thinking)).encode())
    speech = MessagesSpeech(said)
    sent = json.loads(speech.plain(said.body, target(kind, model=model)))
    assert sent.get("reasoning_effort") == effort
    assert speech.dropped == (("reasoning_effort",) if effort is None else ())


@pytest.mark.parametrize(
    ("kind", "model", "effort"),
    [
        ("openai-compatible", "openai/gpt-4o", None),
        ("openai-compatible", "llama-3.3-70b", None),
        ("openai-compatible", "openai/gpt-5.6-terra", "high"),
        ("openai-compatible", "openai/o4-mini", "high"),
        ("azure", "prod", None),
        ("local", "pro1", None),
    ],
)
def test_what_is_left_to_a_model_is_said_in_chat_where_it_is_known(
    kind: ProviderKind, model: str, effort: str | None
) -> None:
    """Others may refuse the call; one that wants so much thinking is told if it cannot be had."""
    said = messages_as_chat(json.dumps(asked(thinking={"type": "adaptive"})).encode())
    speech = MessagesSpeech(said)
    there = target(kind, model=model)
    assert json.loads(speech.plain(said.body, there)).get("reasoning_effort") == effort
    assert speech.dropped == (("reasoning_effort",) if effort is None else ())
    budget = {"type": "enabled", "budget_tokens": 20_000}
    wanted = messages_as_chat(json.dumps(asked(thinking=budget)).encode())
    assert json.loads(MessagesSpeech(wanted).plain(wanted.body, there))["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("kind", "model", "effort"),
    [
        ("gemini", "gemini-2.0-flash", None),
        ("gemini", "gemma-3-27b-it", None),
        ("gemini", "gemini-2.5-flash-image", None),
        ("gemini", "gemini-2.5-flash", "high"),
        ("gemini", "gemini-3-pro-preview", "high"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", None),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
        ("bedrock", "global.anthropic.claude-opus-4-6-v1", "high"),
        ("bedrock", "us.meta.llama3-3-70b-instruct-v1:0", None),
        ("bedrock", "us.amazon.nova-pro-v1:0", None),
        ("bedrock", "us.amazon.nova-2-lite-v1:0", None),
        ("bedrock", "openai.gpt-oss-120b-1:0", "high"),
    ],
)
def test_what_is_left_to_a_model_has_no_call_refused(
    kind: ProviderKind, model: str, effort: str | None
) -> None:
    """Clients leave it to the model unasked; one that wants so much thinking is told if it cannot be had."""
    said = messages_as_chat(json.dumps(asked(thinking={"type": "adaptive"})).encode())
    speech = MessagesSpeech(said)
    there = target(kind, model=model)
    assert json.loads(speech.told(said.body, there)).get("reasoning_effort") == effort
    assert speech.dropped == (("reasoning_effort",) if effort is None else ())
    budget = {"type": "enabled", "budget_tokens": 20_000}
    wanted = messages_as_chat(json.dumps(asked(thinking=budget)).encode())
    assert MessagesSpeech(wanted).told(wanted.body, there) is wanted.body


@pytest.mark.parametrize(
    ("kind", "model", "effort"),
    [
        ("openai-compatible", "llama-3.3-70b", None),
        ("openai-compatible", "openai/gpt-5.6-terra", "high"),
        ("openai", "gpt-4o-mini", None),
        ("gemini", "gemini-2.0-flash", None),
        ("bedrock", "us.amazon.nova-pro-v1:0", None),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "high"),
        ("anthropic", "claude-sonnet-4-5", "high"),
    ],
)
def test_the_usual_effort_beside_it_is_no_wish(kind: ProviderKind, model: str, effort: str | None) -> None:
    """Claude Code says both, whatever the model; another effort is the user's."""

    def sent(said: str) -> tuple[str | None, tuple[str, ...]]:
        config = {"thinking": {"type": "adaptive"}, "output_config": {"effort": said}}
        chat = messages_as_chat(json.dumps(asked(**config)).encode())
        speech, there = MessagesSpeech(chat), target(kind, model=model)
        say = speech.plain if kind.startswith("openai") else speech.told
        return json.loads(say(chat.body, there)).get("reasoning_effort"), speech.dropped

    assert sent("high") == (effort, () if effort else ("reasoning_effort",))
    if model != "gpt-4o-mini":
        assert sent("low") == ("low", ())


@pytest.mark.parametrize(
    ("host", "leads"), [("api.openai.com", False), ("r.openai.azure.com", False), ("openai.example", True)]
)
def test_openais_models_have_instructions_where_they_stand(host: str, leads: bool) -> None:
    """Whatever kind of provider they are reached by: they take a later one as said later, and find the
    beginning in their cache."""
    turns = [{"role": "user", "content": "hi"}, {"role": "system", "content": "Now."}, user(text("so?"))]
    chat = messages_as_chat(json.dumps(asked(system="First.", messages=turns)).encode())
    said = arranged(chat.body, target("openai-compatible", host))
    roles = [each["role"] for each in json.loads(said)["messages"]]
    assert roles == (["system", "user", "user"] if leads else ["system", "user", "system", "user"])
