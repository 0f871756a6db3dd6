"""Pictures in answers: Gemini's, and of servers that have them where OpenRouter does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.release import ModelVersion, Policy, Release
from airboss.providers.fake_bedrock import frame
from tests.gateway.test_responses_native import ANSWER
from tests.support.gateway import DIGEST, PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, say, streamed

DATA = "iVBORw0KGgo="
URL = f"data:image/png;base64,{DATA}"
IMAGE = {"inlineData": {"mimeType": "image/png", "data": DATA}}
USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 1290}
MASKS = Release(
    digest=DIGEST,
    name="m",
    model=ModelVersion(provider="fake", kind="gemini", model="up"),
    policy=Policy(pii=(("email", "mask"),), detectors="1"),
)


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, as each kind that matters."""
    plans = [
        deployment(upstream.url, kind="gemini", price=PRICE, upstream_model="gemini-3-pro-image"),
        deployment(upstream.url, kind="gemini", name="masks", aliases=(), stable=MASKS),
        deployment(upstream.url, name="router", aliases=()),
        deployment(upstream.url, name="claude", aliases=(), kind="anthropic"),
        deployment(upstream.url, name="native", aliases=(), kind="openai"),
        deployment(upstream.url, name="bedrock", aliases=(), kind="bedrock", region="eu-west-1"),
    ]
    with Gateway(tmp_path_factory.mktemp("images"), *plans) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(upstream: SaidUpstream) -> None:
    """Nothing is told from before."""
    upstream.events, upstream.body, upstream.done, upstream.raw = [], {}, True, None
    upstream.seen.clear()


def draw(upstream: SaidUpstream, *, stream: bool, parts: tuple[Any, ...] = (), drawn: Any = IMAGE) -> None:
    """Answer with a word and a picture, as Gemini does."""
    parts = parts or ({"text": "Here: "}, {"inlineData": IMAGE["inlineData"], "thought": True}, drawn)
    whole = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP"}]}
    upstream.body = whole | {"usageMetadata": USAGE}
    if stream:
        made = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
        last = {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}], "usageMetadata": USAGE}
        upstream.events, upstream.done = [json.dumps(each) for each in (*made, last)], False


def shown(response: Any, *, stream: bool) -> tuple[str, list[Any]]:
    """What a chat answer says and shows."""
    assert response.status_code == 200, response.text
    if not stream:
        message = response.json()["choices"][0]["message"]
        return message["content"], message["images"]
    said = [each.removeprefix("data: ") for each in response.text.split("\n\n") if "choices" in each]
    deltas = [choice["delta"] for each in said for choice in json.loads(each)["choices"]]
    texts = "".join(delta.get("content") or "" for delta in deltas)
    return texts, [image for delta in deltas for image in delta.get("images", ())]


@pytest.mark.parametrize("model", ["gpt-4o", "masks"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_chat(gateway: Gateway, upstream: SaidUpstream, model: str, stream: bool) -> None:
    """They are the message's `images`, under a policy too; what was drawn in thought is not shown. The record
    has them."""
    draw(upstream, stream=stream)
    response = gateway.chat(model=model, stream=stream)
    expected = ("Here: ", [{"type": "image_url", "index": 0, "image_url": {"url": URL}}])
    assert shown(response, stream=stream) == expected
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["output_tokens"]) == ("ok", 1290)
    recorded = end["response"]["choices"][0]["message"]
    assert (recorded["content"], recorded["images"]) == expected


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_picture_alone(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """It is an answer."""
    draw(upstream, stream=stream, parts=(IMAGE,))
    text, images = shown(gateway.chat(stream=stream), stream=stream)
    assert not text
    assert [each["image_url"]["url"] for each in images] == [URL]


@pytest.mark.parametrize("model", ["gpt-4o", "router"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_responses(gateway: Gateway, upstream: SaidUpstream, model: str, stream: bool) -> None:
    """It is an item, with the events that OpenAI has for one, and Gemini has it back when the conversation
    goes on; others are not told, and the answer says so."""
    draw(upstream, stream=stream)
    if model == "router":
        image = {"type": "image_url", "image_url": {"url": URL}}
        message = {"role": "assistant", "content": "Here: ", "images": [image]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        upstream.body = {"id": "c", "object": "chat.completion", "model": "up", "choices": [choice]}
        if stream:
            upstream.stream([{"content": "Here: "}, {"images": [image]}])
            upstream.done = True
    response = say(gateway, "responses", "draw", model=model, stream=stream)
    assert response.status_code == 200, response.text
    if stream:
        told = streamed(response)
        names = [name for name, data in told if data.get("output_index") == 1]
        states = [
            f"response.image_generation_call.{each}" for each in ("in_progress", "generating", "completed")
        ]
        assert names == ["response.output_item.added", *states, "response.output_item.done"]
        final = told[-1][1]["response"]
    else:
        final = response.json()
    text, item = final["output"]
    assert text["content"][0]["text"] == "Here: "
    assert (item["type"], item["status"], item["result"]) == ("image_generation_call", "completed", DATA)
    with gateway.client() as client:
        assert client.get(f"/v1/responses/{final['id']}").json()["output"] == final["output"]
    draw(upstream, stream=False)
    say(gateway, "responses", "bluer", previous_response_id=final["id"])
    parts = json.loads(upstream.seen[-1])["contents"][1]["parts"]
    assert parts == [{"text": "Here: "}, IMAGE | {"thoughtSignature": "skip_thought_signature_validator"}]
    refused = say(gateway, "responses", "bluer", model="claude", previous_response_id=final["id"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")
    upstream.events, upstream.body = (
        [],
        {"choices": [{"message": {"content": "No."}, "finish_reason": "stop"}]},
    )
    left = say(gateway, "responses", "bluer", model="router", previous_response_id=final["id"])
    assert left.headers["x-airboss-dropped"] == "images"
    assert DATA.encode() not in upstream.seen[-1]
    upstream.body = json.loads(ANSWER)
    native = say(gateway, "responses", "bluer", model="native", previous_response_id=final["id"])
    assert native.status_code == 200, native.text
    shown_again = {"type": "input_image", "detail": "auto", "image_url": URL}
    assert {"role": "user", "content": [shown_again]} in json.loads(upstream.seen[-1])["input"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_who_has_no_words_for_it(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """Anthropic's clients and text completions are told, and where to ask; nothing is asked again, and it is
    paid for."""
    draw(upstream, stream=stream, parts=(IMAGE,))
    response = say(gateway, "messages", "draw", stream=stream)
    assert response.status_code == 400, response.text
    told = error("messages", response)
    assert told["code"] == "content_unsupported"
    assert "/v1/responses" in told["message"]
    with gateway.client() as client:
        asked = {"model": "gpt-4o", "prompt": "draw", "stream": stream}
        completion = client.post("/v1/completions", json=asked)
    assert (completion.status_code, completion.json()["error"]["code"]) == (400, "content_unsupported")
    for each in (response, completion):
        end = gateway.closed(each.headers["x-request-id"])
        assert (end["status"], end["error_type"], len(end["attempts"])) == ("error", "content_unsupported", 1)
    assert len(upstream.seen) == 2


def test_one_behind_words(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A stream that has begun ends with the error."""
    draw(upstream, stream=True, parts=(*[{"text": "word " * 1000}] * 200, IMAGE))
    name, data = streamed(say(gateway, "messages", "draw", stream=True))[-1]
    assert name == "error"
    assert "image" in data["error"]["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_sound(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """What chat has no words for is an error that names it."""
    draw(upstream, stream=stream, parts=({"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}},))
    response = gateway.chat(stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "content_unsupported")
    assert "audio/L16" in response.json()["error"]["message"]


def test_what_was_drawn_is_asked_for(gateway: Gateway, upstream: SaidUpstream) -> None:
    """`modalities` are Gemini's too, but for sound."""
    draw(upstream, stream=False)
    assert gateway.chat(modalities=["image", "text"]).status_code == 200
    assert json.loads(upstream.seen[-1])["generationConfig"] == {"responseModalities": ["IMAGE", "TEXT"]}
    assert gateway.chat(modalities=["text"]).status_code == 200
    assert "generationConfig" not in json.loads(upstream.seen[-1])
    refused = gateway.chat(modalities=["text", "audio"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "modalities")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_bedrock(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """Its pictures, of which a stream has pieces of base64, are such too; text beside citations is text."""
    half = [base64.b64encode(each).decode() for each in (b"\x89PN", b"G.....")]
    whole = base64.b64encode(b"\x89PNG.....").decode()
    usage = {"inputTokens": 3, "outputTokens": 9}
    cited = {"citationsContent": {"content": [{"text": "Here: "}], "citations": []}}
    image = {"image": {"format": "png", "source": {"bytes": whole}}}
    message = {"role": "assistant", "content": [cited, image]}
    upstream.body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
    if stream:
        pieces = [{"image": {"source": {"bytes": each}}} for each in half]
        events = [
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Here: "}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("contentBlockStart", {"contentBlockIndex": 1, "start": {"image": {"format": "png"}}}),
            *[("contentBlockDelta", {"contentBlockIndex": 1, "delta": each}) for each in pieces],
            ("contentBlockStop", {"contentBlockIndex": 1}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("metadata", {"usage": usage}),
        ]
        upstream.body = b"".join(frame(name, json.dumps(said).encode()) for name, said in events)
    response = gateway.chat(model="bedrock", stream=stream)
    url = f"data:image/png;base64,{whole}"
    assert shown(response, stream=stream) == (
        "Here: ",
        [{"type": "image_url", "index": 0, "image_url": {"url": url}}],
    )
    assert gateway.closed(response.headers["x-request-id"])["output_tokens"] == 9
    refused = say(gateway, "messages", "draw", model="bedrock", stream=stream)
    assert refused.status_code == 400 or "image" in refused.text
