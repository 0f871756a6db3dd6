"""What a request must look like, and what is said when it does not."""

from __future__ import annotations

import json

import pytest

from airboss.domain.errors import InvalidRequest
from airboss.gateway.wire import error_body, parse_body, unknown_model, upstream_body

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _chat(**changes: object) -> bytes:
    return json.dumps(CHAT | changes).encode()


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"", None, "empty"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "expected `object`, got `array`"),
        (b"null", None, "got `null`"),
        (b'{"messages":[]}', "model", "'model' is missing"),
        (b'{"model":"m"}', "messages", "'messages' is missing"),
        (_chat(messages=[]), "messages", "'messages' is empty"),
        (_chat(model=""), "model", "'model' is empty"),
        (_chat(model=7), "model", "expected `str`, got `int`"),
        (_chat(messages="hi"), "messages", "expected `array`, got `str`"),
        (_chat(messages=[{"content": "x"}]), "role", "'role' is missing in messages[0]"),
        (_chat(messages=[{"role": "user", "content": 3}]), "messages[0].content", "got `int`"),
        (_chat(temperature="hot"), "temperature", "expected `float | null`, got `str`"),
        (_chat(n=0), "n", "'n' is 0"),
        (_chat(stream_options={"include_usage": True}), "stream_options", "only for streams"),
        (_chat(metadata={str(i): "x" for i in range(65)}), "metadata", "65 members"),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', None, "not valid JSON"),
        (b'{"model":"m","x":"\xff"}', None, "not UTF-8"),
        (b'{"model":"m","messages":[],"x":' + b"[" * 100_000, None, "nested more than 200 levels"),
        (b'{"model":"m\x00"}', None, "not valid JSON"),
    ],
)
def test_bad_bodies_say_what_was_seen(body: bytes, param: str | None, says: str) -> None:
    """A bad body is a 400 that names the member and what was seen."""
    with pytest.raises(InvalidRequest) as raised:
        parse_body("chat", body)
    assert says.lower() in raised.value.message.lower()
    assert raised.value.param == param


def test_unknown_members_pass() -> None:
    """Members that nobody here knows are the upstream's business."""
    parse_body("chat", _chat(frobnicate={"deep": [1, 2]}))


def test_usage_is_asked_for_once() -> None:
    """A stream's usage is asked for where the client did not, and left as it is where it did."""
    plain = _chat(stream=True)
    sent = json.loads(upstream_body(plain, parse_body("chat", plain), model="up"))
    assert sent == json.loads(plain) | {"model": "up", "stream_options": {"include_usage": True}}
    refused = _chat(stream=True, stream_options={"include_usage": False})
    sent = json.loads(upstream_body(refused, parse_body("chat", refused), model="up"))
    assert sent["stream_options"] == {"include_usage": True}
    asked = _chat(stream=True, stream_options={"include_usage": True, "x": 1})
    sent = json.loads(upstream_body(asked, parse_body("chat", asked), model="up"))
    assert sent["stream_options"] == {"include_usage": True, "x": 1}


def test_bytes_pass_untouched() -> None:
    """But for the model's name, what the client sent is what goes upstream, byte for byte."""
    body = b' {"messages" : [{"role":"user","content":"\\u00e9 \xc3\xa9"}],\n"x":1.10, "model":"m" } '
    sent = upstream_body(body, parse_body("chat", body), model="up")
    assert sent == body.replace(b'"model":"m"', b'"model":"up"')


def test_unknown_model_names_the_nearest() -> None:
    """A mistyped model is told the nearest names."""
    error = unknown_model("asistant", ["assistant", "gpt-4o"])
    body = json.loads(error_body(error))["error"]
    assert body["code"] == "model_not_found"
    assert "'assistant'" in body["message"]
    assert list(body) == ["message", "type", "code", "param"]
