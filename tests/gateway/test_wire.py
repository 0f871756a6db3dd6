"""What a request must look like, and what is said when it does not."""

from __future__ import annotations

import json

import msgspec
import pytest

from airboss.domain.errors import InvalidRequest
from airboss.domain.release import Example, ModelVersion, Release
from airboss.gateway.misnamed import unknown_model
from airboss.gateway.wire import (
    ChatBody,
    asks_several,
    error_body,
    invalid,
    parse_body,
    plain_body,
    upstream_body,
)
from airboss.providers.outbox import Pieces

MODEL = ModelVersion(provider="p", kind="openai", model="m")
PLAIN = Release(digest="d", name="r", model=MODEL)
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
        (_chat(messages=[{"content": "x"}]), "messages[0].role", "'role' is missing in messages[0]"),
        (
            _chat(messages=[{"role": "user", "content": [{}]}]),
            "messages[0].content[0].type",
            "'type' is missing",
        ),
        (_chat(top_p=1.5), "top_p", "0 to 1"),
        (_chat(top_p=-1), "top_p", "'top_p' is -1"),
        (_chat(messages=[{"role": "user", "content": 3}]), "messages[0].content", "got `int`"),
        (_chat(temperature="hot"), "temperature", "expected `float | null`, got `str`"),
        (_chat(n=0), "n", "'n' is 0"),
        (_chat(max_tokens=-1), "max_tokens", "'max_tokens' is -1"),
        (_chat(max_completion_tokens=-1), "max_completion_tokens", "0 or more"),
        (_chat(temperature=-0.5), "temperature", "'temperature' is -0.5"),
        (_chat(top_logprobs=21), "top_logprobs", "0 to 20"),
        (_chat(stream_options={"include_usage": True}), "stream_options", "only for streams"),
        (_chat(metadata={str(i): "x" for i in range(65)}), "metadata", "65 members"),
        (
            _chat(metadata={"tags": ["a", "b"]}),
            "metadata",
            "'metadata': expected `str`, got `array`; its values",
        ),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', None, "not valid JSON"),
        (b'{"model":"m","x":"\xff"}', None, "not UTF-8"),
        (
            b'{"model":"m","messages":[],"x":' + b"[" * 9000 + b"]" * 9000 + b"}",
            None,
            "nested more than 200 levels",
        ),
        (b'{"model":"m","x":' + b"[" * 1_000_000, None, "nested more than 200 levels"),
        (b'{"model":"m\x00"}', None, "not valid JSON"),
    ],
)
def test_bad_bodies_say_what_was_seen(body: bytes, param: str | None, says: str) -> None:
    """A bad body is a 400 that names the member and what was seen."""
    with pytest.raises(InvalidRequest) as raised:
        parse_body("chat", body)
    assert says.lower() in raised.value.message.lower()
    assert raised.value.param == param


@pytest.mark.parametrize("pad", ["x" * 100_000, "so many words, " * 5000, 'a "quoted"\n' * 9000])
@pytest.mark.parametrize(
    ("cut_off", "says"), [(0, None), (2, "is not valid JSON"), (40, "is not valid JSON")]
)
def test_long_bodies_are_read_as_short_ones(pad: str, cut_off: int, says: str | None) -> None:
    """The same members and the same refusals."""
    said = {"messages": [{"role": "user", "content": pad}, {"role": "tool"}], "model": "m", "n": 2}
    body = json.dumps(said).encode()
    if says is None:
        parsed = parse_body("chat", body)
        assert (parsed.model, parsed.n) == ("m", 2)
        assert isinstance(parsed, ChatBody)
        assert [message.role for message in parsed.messages] == ["user", "tool"]
        assert pad.startswith(str(parsed.messages[0].content))
    else:
        with pytest.raises(InvalidRequest, match=says):
            parse_body("chat", body[:-cut_off])
    for wrong in (b'"n":1,"n":2}', b'"n":"x"}', b'"messages":[]}', b'"o":"\x01"}', b'"o":"\xff"}'):
        with pytest.raises(InvalidRequest):
            parse_body("chat", body[:-1] + b"," + wrong)


def test_unknown_members_pass() -> None:
    """Members that nobody here knows are the upstream's business."""
    parse_body("chat", _chat(frobnicate={"deep": [1, 2]}))


def test_usage_is_asked_for_once() -> None:
    """A stream's usage is asked for where the client did not, and left as it is where it did."""
    plain = _chat(stream=True)
    sent = json.loads(upstream_body(plain, parse_body("chat", plain), model="up", release=PLAIN))
    assert sent == json.loads(plain) | {"model": "up", "stream_options": {"include_usage": True}}
    refused = _chat(stream=True, stream_options={"include_usage": False})
    sent = json.loads(upstream_body(refused, parse_body("chat", refused), model="up", release=PLAIN))
    assert sent["stream_options"] == {"include_usage": True}
    asked = _chat(stream=True, stream_options={"include_usage": True, "x": 1})
    sent = json.loads(upstream_body(asked, parse_body("chat", asked), model="up", release=PLAIN))
    assert sent["stream_options"] == {"include_usage": True, "x": 1}
    others = _chat(stream=True, stream_options={"include_obfuscation": False, "include_usage": None})
    sent = json.loads(upstream_body(others, parse_body("chat", others), model="up", release=PLAIN))
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_bytes_pass_untouched() -> None:
    """But for the model's name, what the client sent is what goes upstream, byte for byte."""
    body = b' {"messages" : [{"role":"user","content":"\\u00e9 \xc3\xa9"}],\n"x":1.10, "model":"m" } '
    sent = upstream_body(body, parse_body("chat", body), model="up", release=PLAIN)
    assert sent == body.replace(b'"model":"m"', b'"model":"up"')


def test_the_upstreams_own_name_of_a_model_stays_as_it_is_written() -> None:
    """Nothing is changed where nothing need be; another name is, however it is written."""
    body = b' {"mod\\u0065l" :"u\\u0070", "messages":[{"role":"user","content":"\\"model\\":\\"m\\""}]} '
    parsed = parse_body("chat", body)
    assert plain_body(body, parsed, model="up") is body
    assert json.loads(bytes(plain_body(body, parsed, model="other")))["model"] == "other"


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,", ": ")])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": {"include_usage": True, "x": 1}},
        {"stream": True, "stream_options": {"x": 1}},
        {"stream": True, "stream_options": None},
    ],
)
def test_long_bodies_go_up_as_short_ones(separators: tuple[str, str], more: dict[str, object]) -> None:
    """In pieces where that can be; they say the same."""
    said = {"messages": [{"role": "user", "content": "é\n" * 9000}], "model": "m", "x": 1.10} | more
    body = json.dumps(said, separators=separators, ensure_ascii=False).encode()
    parsed = parse_body("chat", body)
    short = {name: value for name, value in said.items() if name != "messages"}
    likewise = _chat(**short | {"model": "m"})
    wanted = json.loads(upstream_body(likewise, parse_body("chat", likewise), model="up", release=PLAIN))
    sent = plain_body(body, parsed, model="up")
    assert plain_body(likewise, parse_body("chat", likewise), model="up") == upstream_body(
        likewise, parse_body("chat", likewise), model="up", release=PLAIN
    )
    assert json.loads(bytes(sent)) == wanted | {"messages": said["messages"]}
    assert isinstance(sent, Pieces) is (separators[0] != " ,")


def test_an_unknown_model_that_is_like_none_is_told_of_aliases() -> None:
    """What has nothing in common is not called near: some names are told, and how to have one's own."""
    said = unknown_model("claude-sonnet-4-5", ["assistant", "dall-e-3", "gpt-4.1", "support"]).message
    assert "nearest" not in said
    assert "it may use 'assistant', 'dall-e-3', 'gpt-4.1', …. GET" in said
    assert "`models` of a provider or `aliases` of a deployment" in said
    assert "it may use none" in unknown_model("x", []).message


def test_unknown_model_names_the_nearest() -> None:
    """A mistyped model is told the nearest names."""
    error = unknown_model("asistant", ["assistant", "gpt-4o"])
    body = json.loads(error_body(error))["error"]
    assert body["code"] == "model_not_found"
    assert "'assistant'" in body["message"]
    assert list(body) == ["message", "type", "code", "param"]


def _sent(body: bytes, release: Release) -> dict[str, object]:
    sent = json.loads(upstream_body(body, parse_body("chat", body), model="up", release=release))
    assert isinstance(sent, dict)
    return sent


def test_a_release_leads_and_fills() -> None:
    """Prompt and examples go before the client's messages; params fill gaps, forced ones replace."""
    release = msgspec.structs.replace(
        PLAIN,
        prompt="You help {{who}}.",
        examples=(Example("a", "b"),),
        params={"temperature": 0.2, "max_tokens": 300, "seed": 1},
        params_force={"top_p": 0.5},
    )
    body = _chat(
        prompt_variables={"who": "Ann"}, temperature=0.9, max_completion_tokens=5, top_p=1, seed=None, x=[1]
    )
    sent = _sent(body, release)
    assert sent == {
        "model": "up",
        "messages": [
            {"role": "system", "content": "You help Ann."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "hi"},
        ],
        "temperature": 0.9,
        "max_completion_tokens": 5,
        "top_p": 0.5,
        "seed": 1,
        "x": [1],
    }
    with pytest.raises(InvalidRequest, match="'who'"):
        _sent(_chat(), release)


def test_forced_parameters_win_under_either_name() -> None:
    """A forced limit cannot be got round by the parameter's other name."""
    release = msgspec.structs.replace(PLAIN, params_force={"max_tokens": 10})
    sent = _sent(_chat(max_completion_tokens=5000, max_tokens=4000), release)
    assert sent["max_tokens"] == 10
    assert "max_completion_tokens" not in sent


def test_text_completions_are_led_by_text() -> None:
    """For a text completion the release's words come before the prompt; tokens cannot be led."""
    release = msgspec.structs.replace(PLAIN, prompt="Be brief.")
    body = b'{"model":"m","prompt":["a","b"]}'
    sent = upstream_body(body, parse_body("text_completion", body), model="up", release=release)
    assert json.loads(sent)["prompt"] == ["Be brief.\n\na", "Be brief.\n\nb"]
    tokens = b'{"model":"m","prompt":[1,2]}'
    with pytest.raises(InvalidRequest, match="tokens"):
        upstream_body(tokens, parse_body("text_completion", tokens), model="up", release=release)


@pytest.mark.parametrize(
    ("prompt", "several"),
    [("a", False), (["a"], False), (["a", "b"], True), ([1, 2], False), ([[1], [2]], True)],
)
def test_several_answers_are_known(prompt: object, several: bool) -> None:
    """A list of prompts asks for several answers; a list of tokens is one prompt."""
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    assert asks_several(parse_body("text_completion", body)) is several
    assert asks_several(parse_body("chat", _chat(n=2)))
    assert not asks_several(parse_body("chat", _chat(n=1)))


@pytest.mark.parametrize(
    ("said", "half"),
    [
        (rb"\ud800", r"\ud800"),
        (rb"x\udc00", r"\udc00"),
        (rb"\ud83d\ude00 \uD83Dx", r"\uD83D"),
        (rb"\\\ud800", r"\ud800"),
        (rb"\\ud800", None),
    ],
)
def test_half_a_character_is_told_as_that(said: bytes, half: str | None) -> None:
    """And not as a body that was cut; a backslash before a backslash begins no escape."""
    body = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % said
    if half is None:
        assert parse_body("chat", body).model == "m"
        return
    with pytest.raises(InvalidRequest) as refused:
        parse_body("chat", body)
    assert str(refused.value) == f"the body is not valid JSON: {half} is half of a character"


def test_a_role_that_is_none_is_told_which_there_are() -> None:
    """The value, where it stands, and what may stand there."""
    said = str(invalid("Invalid enum value 'usr' - at `$.messages[0].role`"))
    assert said == (
        "'messages[0].role': invalid enum value 'usr'; it is system, developer, user, assistant or tool"
    )
    assert "system" not in str(invalid("Invalid enum value 'x' - at `$.service_tier`"))
