"""A stream that breaks off after its beginning is gone on with: the client reads one whole answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import DeploymentPlan, Retry, Target, Timeouts
from airboss.gateway.breaker import STREAK_MAX
from airboss.governance.policies import policy_of
from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.support.gateway import KEY, PATIENT, PRICE, SILENT, Gateway, deployment, hasty
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import PATHS, error_in_stream, is_whole, say, text
from tests.support.wait import until

SAID = "One two three four five six seven eight nine ten, and then it is over."
SLOW = " ".join(f"w{number}" for number in range(18))
TIMES = Timeouts(total_s=120.0, first_token_s=10.0, idle_s=1.0)
"""For streams that fall silent."""
AT_LENGTH = Timeouts(total_s=120.0, first_token_s=2.0, idle_s=60.0)
BREAKS = [
    "cut-reset",
    "cut-close",
    "cut-end",
    "stall",
    "malformed-event",
    "malformed-chunk",
    "error-mid-stream",
]


def with_fallback(plan: DeploymentPlan, url: str, model: str = "big", **changes: Any) -> DeploymentPlan:
    """The deployment with a fallback."""
    fields: dict[str, Any] = {
        "provider": "backup",
        "kind": "openai-compatible",
        "price": PRICE,
        "continuation": "on",
    }
    other = Target(base_urls=(url,), upstream_model=model, **fields | changes)
    return msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, fallbacks=(other,)))


@pytest.fixture(scope="module")
def backup() -> Iterator[FakeProvider]:
    """Another provider that says the same."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def odd() -> Iterator[SaidUpstream]:
    """One that goes on as it is told."""
    with said_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider,
    backup: FakeProvider,
    odd: SaidUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A worker; what it has learned of a model that refuses stays with that model."""
    made: dict[str, Any] = {
        "price": PRICE,
        "timeout": PATIENT,
        "retry": Retry(attempts=1),
        "aliases": (),
        "continuation": "on",
    }

    def plan(name: str, model: str = "up", **changes: Any) -> DeploymentPlan:
        return deployment(fake_process.url, name=name, upstream_model=model, **made | changes)

    root = backup.url.removesuffix("/v1")
    plans = [
        plan("up", aliases=("gpt-4o",)),
        hasty(plan("up"), TIMES),
        with_fallback(plan("both"), backup.url),
        with_fallback(plan("claude"), f"{root}/v1", kind="anthropic"),
        with_fallback(plan("own-claude", "first"), f"{root}/v1", kind="anthropic"),
        with_fallback(plan("own-gpt", "second"), backup.url, kind="openai"),
        with_fallback(plan("oddly", "oddly"), odd.url),
        plan("thrice", retry=Retry(attempts=3)),
        plan("poor", "poor"),
        with_fallback(plan("poor-both", "poor"), backup.url, "poor"),
        with_fallback(plan("down"), backup.url, down="model 'big' has no engine"),
        with_fallback(plan("tripped-down", "t1"), backup.url, down="model 'big' has no engine"),
        with_fallback(plan("tripped-off", "t2"), backup.url, continuation="off"),
        with_fallback(plan("tripped-fails", "t3"), backup.url),
        with_fallback(plan("tripped-masks", "t4", policy=policy_of("mask", None)), backup.url),
        plan("odd", "odd", retry=Retry(attempts=4)),
        plan("off", continuation="off"),
        plan("masks", policy=policy_of("mask", None)),
        plan("masks-thrice", policy=policy_of("mask", None), retry=Retry(attempts=3)),
        with_fallback(plan("blocks", "blocks", policy=policy_of("block", None)), backup.url),
        plan("patient", policy=policy_of("mask", None), timeout=AT_LENGTH),
    ]
    with Gateway(tmp_path_factory.mktemp("continuation"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider, backup: FakeProvider) -> Gateway:
    """The module's worker, both providers as they were when they began."""
    backup.reset()
    return shared


def chunks(response: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a whole stream."""
    assert response.text.endswith("data: [DONE]\n\n"), response.text
    return [json.loads(e[6:]) for e in response.text.split("\n\n") if e.startswith("data: {")]


def said(response: httpx2.Response) -> str:
    """What a whole stream says."""
    choices = [choice for chunk in chunks(response) for choice in chunk["choices"]]
    return "".join(each["delta"].get("content") or "" for each in choices)


@pytest.mark.parametrize("after", [1, 3, 7])
@pytest.mark.parametrize("fault", BREAKS)
def test_the_same_model_goes_on(gateway: Gateway, provider: FakeProvider, fault: str, after: int) -> None:
    """One answer with one id, one role and one end, whose usage is the first prompt and all the output."""
    provider.script(f"{fault};after={after};text={SAID}", f"ok;text={SAID}")
    model = "hasty-up" if fault in SILENT else "up"
    response = gateway.chat(model=model, stream=True, stream_options={"include_usage": True})
    assert said(response) == SAID
    found = chunks(response)
    assert len({(each["id"], each["created"], each["model"]) for each in found}) == 1
    assert [c["finish_reason"] for each in found for c in each["choices"] if c["finish_reason"]] == ["stop"]
    usage = found[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1, 15)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", None)
    assert end["response"]["choices"][0]["message"]["content"] == SAID
    first, second = end["attempts"]
    assert first["error_type"] is not None
    assert (second["why"], second["error_type"]) == ("continuation", None)
    assert second["usage"]["output_tokens"] == 15 - after
    assert end["cost_usd"] == pytest.approx(first["cost_usd"] + second["cost_usd"])


@pytest.mark.parametrize("fault", ["cut-reset", "error-mid-stream"])
@pytest.mark.parametrize("dialect", sorted(PATHS))
def test_other_dialects_go_on_too(gateway: Gateway, provider: FakeProvider, dialect: str, fault: str) -> None:
    """`/v1/messages` and `/v1/responses` read one whole stream."""
    provider.script(f"{fault};after=4;text={SAID}", f"ok;text={SAID}")
    response = say(gateway, dialect, stream=True)
    assert is_whole(dialect, response)
    assert text(dialect, response, stream=True) == SAID


def test_a_completion_goes_on(gateway: Gateway, provider: FakeProvider) -> None:
    """Of a raw prompt the next one is that with what was said."""
    provider.script(Behaviour(fault="cut-close", after=4, text=" a b c d e f g"), Behaviour(text=" e f g"))
    with gateway.client() as client:
        response = client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "x", "stream": True})
    assert "".join(c["text"] for each in chunks(response) for c in each["choices"]) == " a b c d e f g"
    assert json.loads(provider.last().body)["prompt"] == "x a b c d"


def test_a_completion_is_not_gone_on_with_in_a_conversation(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """A provider that knows conversations only would answer prompt and beginning as what a user says."""
    provider.script("cut-close;after=4;words=20")
    with gateway.client() as client:
        body = {"model": "claude", "prompt": "x", "stream": True}
        response = client.post("/v1/completions", json=body)
    last = json.loads(response.text.rstrip().split("\n\n")[-1][6:])
    assert last["error"]["code"] == "upstream_error"
    assert not backup.stats().last


@pytest.mark.parametrize("model", ["both", "claude"])
def test_a_fallback_goes_on(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, model: str
) -> None:
    """Where the first model is gone for good, another one is given what it said."""
    provider.script(f"cut-reset;after=5;text={SAID}", ScriptStep(behaviour="503", forever=True))
    response = gateway.chat(model=model, stream=True, max_tokens=100)
    assert said(response) == SAID
    asked = json.loads(backup.last().body)
    assert asked["max_tokens"] == 95
    assert asked["messages"][-1]["role"] == "assistant"
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["provider"], end["error_type"]) == ("ok", "backup", "answered_by_fallback")


@pytest.mark.parametrize(("dialect", "model"), [("messages", "own-claude"), ("responses", "own-gpt")])
def test_a_fallback_of_the_clients_own_dialect_goes_on(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, dialect: str, model: str
) -> None:
    """What has been said goes to it too, where the client's own words would have gone as they are."""
    provider.script(f"cut-reset;after=5;text={SAID}", ScriptStep(behaviour="503", forever=True))
    response = say(gateway, dialect, model=model, stream=True)
    assert is_whole(dialect, response)
    assert text(dialect, response, stream=True) == SAID
    last = json.loads(backup.last().body)["messages"][-1]
    assert (last["role"], "five" in str(last["content"])) == ("assistant", True)


REST = {"index": 0, "delta": {"role": "assistant", "content": " five."}}
SHAPES: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "as usual": ({"choices": [REST]}, " five."),
    "an error of nothing": ({"choices": [REST], "error": {}}, " five."),
    "empty data": (b"data:\n\n", ""),
    "half a character": ({"choices": [REST | {"delta": {"content": " fi\ud83d"}}]}, " fi\ufffd"),
    "another index": ({"choices": [REST | {"index": 1}]}, " five."),
    "no index": ({"choices": [{"delta": REST["delta"]}]}, " five."),
    "a message": ({"choices": [{"index": 0, "message": REST["delta"]}]}, " five."),
    "a message and no delta": ({"choices": [REST | {"delta": None, "message": REST["delta"]}]}, " five."),
    "parts": (
        {"choices": [REST | {"delta": {"content": [{"type": "text", "text": " five."}]}}]}, " five."
    ),
    "no UTF-8 where nobody reads": (
        b'data: {"odd":"\xff","choices":[{"index":0,"delta":{"content":" five."}}]}\n\n', " five."
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_who_goes_on_may_say_it_oddly(
    gateway: Gateway, provider: FakeProvider, odd: SaidUpstream, shape: str
) -> None:
    """As it may begin: all of it is read, and becomes the same answer's."""
    event, text = SHAPES[shape]
    event = event if isinstance(event, bytes) else b"data: %s\n\n" % json.dumps(event).encode()
    odd.body = event + (
        b'data: {"choices":[{"index":0,"delta":{"content":" Six."},"finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )
    provider.script(f"cut-reset;after=4;text={SAID}", "refuse-prefill")
    response = gateway.chat(model="oddly", stream=True)
    found = chunks(response)
    assert len({(each["id"], each["created"], each["model"]) for each in found}) == 1
    assert {choice["index"] for each in found for choice in each["choices"]} == {0}
    pieces = [c.get("delta") or c.get("message") or {} for each in found for c in each["choices"]]
    assert "".join(each.get("content") or "" for each in pieces) == f"One two three four{text} Six."
    assert [each["role"] for each in pieces if "role" in each] == ["assistant"]
    assert gateway.closed(response.headers["x-request-id"])["status"] == "ok"


def test_what_came_before_a_broken_event_is_given(
    gateway: Gateway, provider: FakeProvider, odd: SaidUpstream
) -> None:
    """Also where it came in one piece with it."""
    odd.body = b"data: %s\n\ndata: {broken\n\n" % json.dumps({"choices": [REST]}).encode()
    provider.script(f"cut-reset;after=4;text={SAID}", "refuse-prefill")
    response = gateway.chat(model="oddly", stream=True)
    assert " five." in response.text


def test_it_breaks_again_and_again(gateway: Gateway, provider: FakeProvider) -> None:
    """Each time a little more comes; the client sees nothing of it."""
    again = [f"cut-close;after=3;text={SAID}"] * 4
    provider.script(*again, f"ok;text={SAID}")
    response = gateway.chat(stream=True)
    assert said(response) == SAID
    assert len(gateway.closed(response.headers["x-request-id"])["attempts"]) == 5


def test_what_broke_off_was_an_attempt_too(gateway: Gateway, provider: FakeProvider) -> None:
    """A model is tried `retry.attempts` times for one call, of which going on has what is left."""
    provider.script(f"cut-close;after=3;text={SAID}", *["503;retry_after=0"] * 4)
    response = gateway.chat(model="thrice", stream=True)
    assert "[DONE]" not in response.text
    tried = [each["why"] for each in gateway.closed(response.headers["x-request-id"])["attempts"]]
    assert tried == ["first", "continuation", "continuation"]


@pytest.mark.parametrize("fault", ["refuse-prefill", "503", "reset", "status;status=422"])
@pytest.mark.parametrize("model", ["poor", "poor-both"])
def test_where_nobody_goes_on_the_break_is_told(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, model: str, fault: str
) -> None:
    """The error is what broke the stream, never what a continuation was refused with."""
    provider.script("cut-end;after=3;words=20", ScriptStep(behaviour=fault, forever=True))
    backup.script(ScriptStep(behaviour=fault, forever=True))
    response = gateway.chat(model=model, stream=True)
    assert "[DONE]" not in response.text
    last = json.loads(response.text.rstrip().split("\n\n")[-1][6:])
    assert last["error"]["code"] == "stream_cut"
    assert response.text.count("word2") == 1
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("error", "stream_cut")


def test_who_was_not_asked_to_go_on_is_not_said_to_have_answered(
    gateway: Gateway, provider: FakeProvider
) -> None:
    """The record names whose words the client has, and not a fallback that nobody could ask."""
    provider.script(f"cut-reset;after=5;text={SAID}", ScriptStep(behaviour="503", forever=True))
    response = gateway.chat(model="down", stream=True)
    assert "[DONE]" not in response.text
    end = gateway.closed(response.headers["x-request-id"])
    assert {each["provider"] for each in end["attempts"]} == {"fake"}
    assert (end["status"], end["provider"]) == ("error", None)  # no other than was asked first


@pytest.mark.parametrize("model", ["tripped-down", "tripped-off", "tripped-fails", "tripped-masks"])
def test_whose_breaker_opens_goes_on_where_nobody_else_can(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider, model: str
) -> None:
    """As the last resort, as for a call that has not begun: the fallback has no engine, does not go on,
    fails, or may not see what the first has said."""
    parted = "Mail jane@example.com or call me, and then all is well again."
    backup.script(ScriptStep(behaviour="ok" if model == "tripped-masks" else "503", forever=True))
    provider.script(*["503"] * (STREAK_MAX - 1), f"cut-reset;after=6;text={parted}", f"ok;text={parted}")
    for _ in range(STREAK_MAX - 1):
        gateway.chat(model=model)
    response = gateway.chat(model=model, stream=True)
    masked = parted.replace("jane@example.com", "[EMAIL]") if model == "tripped-masks" else parted
    assert said(response) == masked
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["provider"], end["error_type"]) == ("ok", None, None)
    tried = [(each["provider"], each["why"]) for each in end["attempts"]]
    assert (tried[0], tried[-1]) == (("fake", "first"), ("fake", "continuation"))


@pytest.mark.parametrize("dialect", sorted(PATHS))
def test_the_break_is_told_in_other_dialects(gateway: Gateway, provider: FakeProvider, dialect: str) -> None:
    """In band, in the dialect's own words."""
    provider.script("cut-end;after=3;words=20", ScriptStep(behaviour="refuse-prefill", forever=True))
    response = say(gateway, dialect, model="poor", stream=True)
    assert not is_whole(dialect, response)
    assert error_in_stream(dialect, response)["code"] == "stream_cut"


@pytest.mark.parametrize("after", [1, 2, 5, 12])
def test_an_answer_begun_again_is_not_said_twice(
    gateway: Gateway, provider: FakeProvider, after: int
) -> None:
    """A model that says the same from the beginning is joined where it gets to something new."""
    provider.script(
        f"cut-reset;after={after};text={SAID}",
        ScriptStep(behaviour=f"ignore-prefill;text={SAID}", forever=True),
    )
    assert said(gateway.chat(stream=True)) == SAID


@pytest.mark.parametrize("other", ["One two three four five other", "Certainly! Here it is."])
def test_another_answer_is_found_out(gateway: Gateway, provider: FakeProvider, other: str) -> None:
    """Nothing of an answer that does not go on reaches the client, and it is paid for once: the model is not
    asked again, nor is it one that fails."""
    again = ScriptStep(behaviour=f"ignore-prefill;text={other}", forever=True)
    provider.script(f"cut-reset;after=8;text={SAID}", again)
    response = gateway.chat(model="odd", stream=True)
    assert "[DONE]" not in response.text
    assert "other" not in response.text
    assert "Certainly" not in response.text
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("error", "upstream_error")
    assert [each["error_type"] for each in end["attempts"]] == ["upstream_error", "not_continued"]


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"guided_json": {"type": "object"}},
        {"structured_outputs": {"regex": "a+"}},
        {"grammar": "root ::= [a-z]+"},
        {"model": "off"},
        {"max_tokens": 3},
    ],
)
def test_not_where_it_cannot_be(gateway: Gateway, provider: FakeProvider, asked: dict[str, Any]) -> None:
    """With several choices, log probabilities, a schema or a grammar, without leave, or with nothing left to
    say."""
    provider.script("cut-close;after=3;words=20", ScriptStep(behaviour=f"ok;text={SAID}", forever=True))
    response = gateway.chat(stream=True, **asked)
    assert "[DONE]" not in response.text
    assert len(gateway.closed(response.headers["x-request-id"])["attempts"]) == 1


def test_a_screen_reads_on(gateway: Gateway, provider: FakeProvider) -> None:
    """What is said over the seam is screened as if there were none."""
    parted = "Mail jane@example.com or call me, and then all is well again."
    for after in (3, 4, 6, 9):
        provider.script(f"cut-reset;after={after};text={parted}", f"ok;text={parted}")
        response = gateway.chat(model="masks", stream=True)
        assert said(response) == parted.replace("jane@example.com", "[EMAIL]")


@pytest.mark.parametrize("model", ["masks", "masks-thrice"])
def test_what_a_screen_holds_is_known_to_who_goes_on_next(
    gateway: Gateway, provider: FakeProvider, model: str
) -> None:
    """Also where it is all that an attempt said before it broke off, the end of a word, say: nothing of it is
    missing, or there twice."""
    steps = [f"cut-reset;after=9;text={text}" for text in ("One two thr", "One two three", "One two three-f")]
    provider.script(*steps, "ok;text=One two three-four and five.")
    response = gateway.chat(model=model, stream=True)
    assert said(response) == "One two three-four and five."
    end = gateway.closed(response.headers["x-request-id"])
    assert end["response"]["choices"][0]["message"]["content"] == "One two three-four and five."
    assert [each["why"] for each in end["attempts"]] == ["first", *["continuation"] * 3]


@pytest.mark.parametrize("dialect", ["chat", *PATHS])
@pytest.mark.parametrize("after", [2, 3, 4])
def test_what_goes_on_with_what_is_blocked_ends_there(
    gateway: Gateway, provider: FakeProvider, after: int, dialect: str
) -> None:
    """With its reason and no error behind it, wherever it broke off before; nobody else is asked."""
    text = "One two three jane@example.com five six seven"
    provider.script(f"cut-reset;after={after};text={text}", f"ok;text={text}")
    if dialect == "chat":
        response = gateway.chat(model="blocks", stream=True)
        assert chunks(response)[-1]["choices"][0]["finish_reason"] == "content_filter"
    else:
        response = say(gateway, dialect, model="blocks", stream=True)
        wanted = {"messages": '"stop_reason":"refusal"', "responses": '{"reason":"content_filter"}'}[dialect]
        assert wanted in response.text
    assert "jane" not in response.text
    assert "error" not in response.text.replace('"error":null', "")
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], {each["provider"] for each in end["attempts"]}) == ("refused", {"fake"})


def test_a_screened_stream_that_goes_on_takes_its_time(gateway: Gateway, provider: FakeProvider) -> None:
    """Its first token has come with the first of its pieces, and from then on only pauses count."""
    provider.script(f"cut-reset;after=6;text={SLOW}", f"ok;tokens_per_s=4;text={SLOW}")
    response = gateway.chat(model="patient", stream=True)
    assert said(response) == SLOW
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], len(end["attempts"])) == ("ok", 2)
    assert end["attempts"][1]["latency_ms"] > AT_LENGTH.first_token_s * 1000


def test_a_prefix_of_the_clients_own_is_gone_on_with(gateway: Gateway, provider: FakeProvider) -> None:
    """What the client began and what was said are one message."""
    provider.script(f"cut-reset;after=3;text={SAID}", f"ok;text={SAID}")
    begun = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "One"}]
    response = gateway.chat(messages=begun, stream=True)
    assert said(response) == SAID.removeprefix("One")
    assert json.loads(provider.last().body)["messages"][-1]["content"] == "One two three four"


def test_who_goes_on_waits_for_a_slow_reader(gateway: Gateway, provider: FakeProvider) -> None:
    """A client that is behind when its stream breaks off is not sent more than it reads of what follows, and
    is no failure of the model's, however long it takes."""
    pieces = held_bytes() // 100_000 + 40
    word, more = "a" * 6_000_000, " ".join("b" * 100_000 for _ in range(pieces))
    provider.script(f"error-mid-stream;after=1;text={word} b", f"ok;text={word} {more}")
    body = b'{"model":"hasty-up","stream":true,"messages":[{"role":"user","content":"x"}]}'
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (KEY.encode(), len(body), body)
        )
        until(lambda: provider.stats().requests == 2)
        for _ in range(5):
            assert gateway.chat(model="both").status_code == 200
        pause = Event()
        pause.wait(2 * TIMES.idle_s)
        assert provider.stats().answered == 6  # all but the one that goes on
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        whole = b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), whole[-500:]
    assert whole.count(b"b") >= 100_000 * pieces


def held_bytes() -> int:
    """So much the kernel may hold of what goes from a provider by way of a worker to a client."""
    sent, received = (
        int(Path(f"/proc/sys/net/ipv4/tcp_{which}mem").read_text().split()[2]) for which in "wr"
    )
    return 2 * sent + received
