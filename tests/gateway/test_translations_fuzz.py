"""Odd but valid JSON through every translation: an answer, or an error of ours, and never a defect."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from airboss.dialects.chat_said import read_said
from airboss.dialects.messages_answer import MessagesSpeech
from airboss.dialects.messages_passing import PassingReader
from airboss.dialects.messages_request import messages_as_chat
from airboss.dialects.reckoning import reckoned
from airboss.dialects.responses_answer import ResponsesSpeech
from airboss.dialects.responses_items import as_history
from airboss.dialects.responses_passing import PassingReader as HearingReader
from airboss.dialects.responses_request import as_chat, read_responses
from airboss.domain.errors import ApiError
from airboss.domain.plan import Target
from airboss.domain.release import Example, ModelVersion, ProviderKind, Release
from airboss.gateway import wire
from airboss.gateway.engine_wire import engine_body
from airboss.gateway.local_limits import refuse_unfit
from airboss.gateway.outgoing import outgoing, translation
from airboss.providers import fake_responses as fake
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.assembly import Assembly
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.compatible import read_error, read_reply
from airboss.providers.completed import CompletedReader
from airboss.providers.dialect import DONE, Reader
from airboss.providers.fake_faults import Behaviour
from airboss.providers.gemini_answer import GeminiReader
from airboss.providers.text_over_chat import TextReader
from tests.gateway import samples
from tests.support.odd_json import places

ROUNDS = 150
ODD: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, 2**70, 1e308, -1.5, "", "x", "\x00", "\U0001f600", "data:",
    "data:;base64,", "data:image/png;base64", "[DONE]", [], {}, [[]], {"": ""}, [None], ["x", 1],
    {"type": "text"}, {"type": "function"}, {"type": "object", "properties": None}, "a" * 300,
]  # fmt: skip
NAMES = ["type", "index", "role", "id", "error", "x", "content", "text", "usage"]
KINDS: tuple[ProviderKind, ...] = ("anthropic", "gemini", "bedrock", "azure", "openai", "local")
MODELS: dict[ProviderKind, tuple[str, ...]] = {
    "anthropic": ("claude-sonnet-4-5", "claude-opus-4-7"),
    "gemini": ("gemini-2.5-pro", "gemini-3-flash"),
    "bedrock": ("us.anthropic.claude-sonnet-4-5-v1:0", "amazon.nova-pro-v1:0"),
}
MODEL = ModelVersion(provider="p", kind="openai", model="m")
RELEASES = (
    Release(digest="d", name="n", model=MODEL),
    Release(
        digest="d",
        name="n",
        model=MODEL,
        prompt="P",
        examples=(Example("a", "b"),),
        params={"max_tokens": 7},
        params_force={"top_p": 0.1},
    ),
    Release(digest="d", name="n", model=MODEL, prompt="P", examples=(Example("a", "b"),), form="completion"),
)


OPENAI = Target(provider="p", kind="openai", base_urls=("http://x",), upstream_model="up")
RAW = msgspec.Raw(b'{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f"}}]}')
ASKED: dict[str, Any] = {
    "model": "m",
    "input": "hi",
    "stream": True,
    "previous_response_id": "resp_before",
    "tools": [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}],
}


def fake_responses() -> tuple[list[Any], list[Any]]:
    """Whole responses of OpenAI's, and the events of two one after the other."""
    asked = {name: value for name, value in ASKED.items() if name != "previous_response_id"}
    call, said = fake.read_responses(fake.PATH, json.dumps(asked).encode(), ""), fake.Responses()
    events = said.events(call, Behaviour(reasoning_tokens=3))
    called = said.tools(call, Behaviour(), ['{"a":1}', "{}"], 3)
    assert isinstance(called, list)
    whole = json.loads(said.whole(call, Behaviour(reasoning_tokens=3)))
    return [whole], [json.loads(event.data) for event in (*called, *events)]


WHOLE, EVENTS = fake_responses()


def odder(rng: random.Random, value: Any) -> Any:
    """The value with one to three things replaced, taken out, moved or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        ways = list(places(value))
        if not ways:
            break
        *to, last = rng.choice(ways)
        into = value
        for name in to:
            into = into[name]
        act = rng.random()
        if act < 0.6:
            into[last] = copy.deepcopy(rng.choice(ODD))
        elif act < 0.75:
            del into[last]
        elif act < 0.9:
            found = value
            for name in rng.choice(ways):
                found = found[name]
            into[last] = copy.deepcopy(found)
        elif isinstance(into, dict):
            into[rng.choice(NAMES)] = copy.deepcopy(rng.choice(ODD))
        else:
            into.append(copy.deepcopy(rng.choice(ODD)))
    return value


def go_upstream(rng: random.Random, operation: Any, raw: bytes) -> None:
    """What a request becomes on its way to a provider of any kind, under any release."""
    kind, release = rng.choice(KINDS), rng.choice(RELEASES)
    body = wire.parse_body(operation, raw)
    target = Target(
        provider="p",
        kind=kind,
        base_urls=("http://x",),
        upstream_model=rng.choice(MODELS.get(kind, ("up",))),
        drop_unsupported=rng.random() < 0.7,
        region="eu-west-1",
    )
    if kind == "local":
        refuse_unfit(raw, body, slot_tokens=1000)
    translate = translation(release, target)
    if translate is not None:
        json.loads(outgoing(translate, raw, body, release, target).body)
        return
    sent = wire.upstream_body(raw, body, model="up", release=release)
    json.loads(engine_body(sent, body, release=release) if kind == "local" else sent)


def from_messages(rng: random.Random, raw: bytes) -> None:
    """A request of Anthropic's."""
    asked = wire.read_body(messages_as_chat, raw)
    MessagesSpeech(asked).plain(asked.body, OPENAI)
    reckoned(asked.body)
    go_upstream(rng, "chat", asked.body)


def from_responses(rng: random.Random, raw: bytes) -> None:
    """A request of Responses'."""
    asked = wire.read_body(read_responses, raw)
    speech = ResponsesSpeech(asked, created_at=0, kept=True, history=[msgspec.Raw(b'{"role":"user"}'), RAW])
    passing = speech.passing(raw, OPENAI, rng.choice(RELEASES), [{"role": "system", "content": "P"}])
    assert passing is not None
    json.loads(b"[%s]" % b",".join(each or b"null" for each in passing.changes.values()))
    go_upstream(rng, "chat", wire.read_body(lambda _: as_chat(asked), raw))


REQUESTS: dict[str, tuple[Any, Callable[[random.Random, bytes], None]]] = {
    "chat": (samples.CHAT, lambda rng, raw: go_upstream(rng, "chat", raw)),
    "completions": (samples.TEXT, lambda rng, raw: go_upstream(rng, "text_completion", raw)),
    "messages": (samples.MESSAGES, from_messages),
    "responses": (samples.RESPONSES, from_responses),
}


@pytest.mark.parametrize("dialect", REQUESTS)
def test_requests(dialect: str) -> None:
    """What is wrong is told, and what is right has its words in every provider's dialect."""
    sample, take = REQUESTS[dialect]
    rng = random.Random(f"requests {dialect}")
    served = 0
    for number in range(ROUNDS * 2):
        raw = json.dumps(odder(rng, sample)).encode()
        try:
            take(rng, raw)
            served += 1
        except ApiError:
            continue
        except Exception as error:
            raise AssertionError(f"round {number}: {raw.decode()}") from error
    assert served > ROUNDS / 10


READERS: dict[str, tuple[Callable[[], Reader], list[Any], list[Any]]] = {
    "anthropic": (lambda: AnthropicReader(0, answer_tool="f"), [samples.MESSAGE], samples.MESSAGE_EVENTS),
    "passing": (lambda: PassingReader(0), [samples.MESSAGE], samples.MESSAGE_EVENTS),
    "responses": (lambda: HearingReader(0), WHOLE, EVENTS),
    "gemini": (
        lambda: GeminiReader(0, model="g"),
        [samples.GEMINI, samples.GEMINI_ERROR],
        [samples.GEMINI] * 2,
    ),
    "bedrock": (
        lambda: BedrockReader(0, id="i", model="m", answer_tool=None),
        [samples.CONVERSE],
        samples.CONVERSE_EVENTS,
    ),
    "text": (
        lambda: TextReader(AnthropicReader(0, answer_tool=None)),
        [samples.MESSAGE],
        samples.MESSAGE_EVENTS,
    ),
    "completed": (
        lambda: CompletedReader(chat=True, begun=False),
        [samples.TEXT_ANSWER],
        [samples.TEXT_ANSWER] * 2,
    ),
}


@pytest.mark.parametrize("dialect", READERS)
def test_answers(dialect: str) -> None:
    """An answer of any provider's is read, or the call fails as one whose provider is broken."""
    make, wholes, events = READERS[dialect]
    rng = random.Random(f"answers {dialect}")
    for _ in range(ROUNDS):
        said = odder(rng, rng.choice(wholes))
        piece = rng.randrange(len(events))
        stream = [odder(rng, each) if at == piece else each for at, each in enumerate(events)]
        try:
            read_reply(make().whole(json.dumps(said).encode()))
            make().error(rng.choice([200, 400, 429, 500]), json.dumps(said).encode())
            _stream(make(), stream)
        except ApiError:
            continue
        except Exception as error:
            raise AssertionError(json.dumps([said, stream])) from error


def _stream(reader: Reader, events: list[Any]) -> None:
    assembly = Assembly("chat")
    made = [piece for event in events for piece in reader.event(json.dumps(event).encode())]
    for piece in [*made, *reader.end()]:
        if piece != DONE and (reply := read_reply(piece)).error is None:
            assembly.add(reply)
    assembly.response()


def test_what_is_heard_is_said() -> None:
    """Whatever a provider of Responses says goes on, or fails as one that is broken; an end can be told."""
    rng = random.Random("heard")
    asked = wire.read_body(read_responses, json.dumps(ASKED).encode())
    for number in range(2 * ROUNDS):
        stream = [odder(rng, each) if rng.random() < 0.2 else each for each in EVENTS]
        if number % 3 == 0:
            rng.choice(stream)["type"] = rng.choice([{}, [], "a\nb: c", "", 5, None])
        speech, reader = ResponsesSpeech(asked, created_at=0, kept=True), HearingReader(0)
        assert speech.passing(b"", OPENAI, RELEASES[0], ()) is not None
        said = []
        try:
            for event in stream:
                said += [speech.event(each) for each in reader.event(json.dumps(event).encode())]
        except ApiError:
            pass
        except Exception as error:
            raise AssertionError(json.dumps(stream)) from error
        for line in b"".join([*said, speech.end()]).splitlines():
            assert not line or line.startswith((b"event: ", b"data: ")), line
        assert b"response.failed" in speech.error_event(b"{}")
        json.loads(speech.whole(b"{}"))


def test_chat_is_said_to_every_client() -> None:
    """Whatever a server of OpenAI's dialect says, streamed or whole, has words in the others."""
    rng = random.Random("chat")
    messages = wire.read_body(messages_as_chat, json.dumps(samples.MESSAGES).encode())
    responses = wire.read_body(read_responses, json.dumps(samples.RESPONSES).encode())
    for _ in range(ROUNDS):
        whole = json.dumps(odder(rng, samples.ANSWER)).encode()
        piece = rng.randrange(len(samples.CHUNKS))
        chunks = [odder(rng, each) if at == piece else each for at, each in enumerate(samples.CHUNKS)]
        for speech in (MessagesSpeech(messages), ResponsesSpeech(responses, created_at=0, kept=True)):
            speech.record_id = "r"
            json.loads(speech.whole(whole))
            try:
                for chunk in chunks:
                    speech.event(json.dumps(chunk).encode())
                speech.end()
            except ApiError:
                speech.error_event(b"{}")
        read_error(whole)
        as_history(read_said(whole), str)
