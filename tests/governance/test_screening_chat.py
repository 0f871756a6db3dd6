"""A call's request, its answer whole, and its answer as a stream: no value passes, nothing else is lost."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from benchmarks.screening_texts import text_with_values
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airboss.governance.names import Names
from airboss.governance.screening import Action, screen_text, screening_policy
from airboss.governance.screening_chat import AnswerScreen, RequestScreened, screen_request
from airboss.governance.screening_stream import HELD_BYTES_MAX
from airboss.governance.tokens import Tokens
from tests.governance.detector_samples import samples
from tests.support.policies import one_action

KEY = b"the key of one call"
MASK = one_action("mask")


def request(body: dict[str, Any], action: Action = "mask") -> tuple[dict[str, Any], RequestScreened]:
    """A request, screened: as JSON, and all that was said of it."""
    done = screen_request(one_action(action), json.dumps(body).encode(), Tokens(KEY))
    return json.loads(done.body), done


CHAT = {
    "model": "jane@example.com",
    "user": "jane@example.com",
    "seed": 4111111111111111,
    "metadata": {"user_id": "jane@example.com", "session_id": "jane@example.com", "note": "jane@example.com"},
    "messages": [
        {"role": "developer", "content": "Call +1 415 555 2671"},
        {"role": "user", "name": "jane@example.com", "content": "I am\njane@example.com"},
        {"role": "user", "content": [{"type": "text", "text": "card 4111 1111 1111 1111"}]},
        {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"to":"bob@example.com"}'}}]},
    ],
    "tools": [{"function": {"description": "mails ops@example.com"}}],
}


def test_a_request() -> None:
    """Every text is screened; what identifies caller, session and model is not, nor are settings."""
    body, done = request(CHAT)
    assert {name: body[name] for name in ("model", "user", "seed")} == {
        n: CHAT[n] for n in ("model", "user", "seed")
    }
    assert body["metadata"] == {
        "user_id": "jane@example.com", "session_id": "jane@example.com", "note": "[EMAIL]",
    }  # fmt: skip
    assert [message.get("content") for message in body["messages"]] == [
        "Call [PHONE]", "I am\n[EMAIL]", [{"type": "text", "text": "card [CARD]"}], None,
    ]  # fmt: skip
    assert body["messages"][1]["name"] == "[EMAIL]"
    assert body["messages"][3]["tool_calls"][0]["function"]["arguments"] == '{"to":"[EMAIL]"}'
    assert body["tools"][0]["function"]["description"] == "mails [EMAIL]"
    found = {(each.kind, each.where): each.count for each in done.findings}
    assert found[("email", "request.messages.content")] == 1
    assert found[("phone", "request.messages.content")] == 1
    assert found[("card", "request.messages.content.text")] == 1
    assert not done.blocked


def test_a_request_without_values_is_the_same_object() -> None:
    """Nothing found, nothing changed, nothing copied; observed is never changed."""
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi\nthere é"}]}).encode()
    assert screen_request(MASK, raw).body is raw
    raw = json.dumps(CHAT).encode()
    observed = screen_request(one_action("observe"), raw)
    assert observed.body is raw
    assert len(observed.findings) > 5


def test_a_blocked_request_is_recorded_masked() -> None:
    """What goes nowhere but into the record holds no value either."""
    body, done = request(CHAT, "block")
    assert done.blocked
    assert body == request(CHAT)[0]


def test_a_request_in_tokens_and_an_answer_given_back() -> None:
    """The upstream sees placeholders, the client its own values, the record placeholders."""
    tokens = Tokens(KEY)
    policy = one_action("tokenize")
    raw = json.dumps({"messages": [{"content": "I am jane@example.com, not bob@example.com"}]}).encode()
    sent = screen_request(policy, raw, tokens).body
    assert json.loads(sent) == {"messages": [{"content": "I am <EMAIL_1>, not <EMAIL_2>"}]}
    answer = {
        "choices": [
            {
                "message": {
                    "content": "Dear <EMAIL_1>, ask eve@example.com",
                    "tool_calls": [{"function": {"name": "send", "arguments": '{"to":"<EMAIL_2>"}'}}],
                }
            }
        ]
    }
    passed = AnswerScreen(policy, tokens).whole(json.dumps(answer).encode())
    recorded, given = json.loads(passed.recorded), json.loads(passed.given)
    message = given["choices"][0]["message"]
    assert message["content"].startswith("Dear jane@example.com, ask <EMAIL_")
    assert message["tool_calls"][0]["function"]["arguments"] == '{"to":"bob@example.com"}'
    assert b"@example.com" not in passed.recorded
    assert recorded["choices"][0]["message"]["content"].startswith("Dear <EMAIL_1>, ask <EMAIL_")


def test_a_placeholder_in_pieces_is_given_back() -> None:
    """However a placeholder is cut, the client reads its own value; what only begins like one stays."""
    text = "<<EMAIL_1> <EMAIL_2> <EMAIL_1 <EMAIL_1"
    for cuts in [*((place,) for place in range(len(text))), tuple(range(len(text)))]:
        edges = sorted({0, len(text), *cuts})
        events = [event(content=text[start:end]) for start, end in pairwise(edges)]
        done = Streamed(AnswerScreen(one_action("tokenize"), call_tokens()), [*events, END])
        assert done.put_together(1)[0]["content"] == "<jane.doe@example.com <EMAIL_2> <EMAIL_1 <EMAIL_1"
        assert done.put_together(0)[0]["content"] == text


# -- streams

TEXTS = ("content", "reasoning_content", "refusal")


class Streamed:
    """What an AnswerScreen makes of a stream, put together: for the record, and for the client."""

    def __init__(self, screen: AnswerScreen, events: Iterable[dict[str, Any]]) -> None:
        self.screen = screen
        self.out: list[list[dict[str, Any]]] = [[], []]
        self.known = 0
        for event in events:
            data = json.dumps(event).encode()
            known = screen.known(data)
            self.known += known is not None
            self._add(screen.event(data) if known is None else screen.more(data, *known))
        self._add(screen.end())

    def _add(self, passed: Iterable[Any]) -> None:
        for each in passed:
            self.out[0].append(json.loads(each.recorded))
            self.out[1].append(json.loads(each.given))

    def put_together(self, which: int = 1) -> dict[int, dict[str, Any]]:
        """By choice: its texts, its tool calls, its finish_reason; each is checked to end with the last."""
        whole: dict[int, dict[str, Any]] = defaultdict(dict)
        for event in self.out[which]:
            for choice in event["choices"]:
                into = whole[choice["index"]]
                assert "finish_reason" not in into, "something came behind the end"
                for name, text in {**choice.get("delta", {}), "text": choice.get("text")}.items():
                    if isinstance(text, str) and name != "role":
                        into[name] = into.get(name, "") + text
                for call in choice.get("delta", {}).get("tool_calls", ()):
                    into.setdefault("tool_calls", []).append({k: v for k, v in call.items() if k != "index"})
                if choice["finish_reason"]:
                    into["finish_reason"] = choice["finish_reason"]
        return {index: {k: v for k, v in into.items() if v} for index, into in sorted(whole.items())}


def cut(text: str, source: random.Random, longest: int) -> list[str]:
    """The text in pieces."""
    edges = [0]
    while edges[-1] < len(text):
        edges.append(min(len(text), edges[-1] + source.randint(1, longest)))
    return [text[start:end] for start, end in pairwise(edges)]


def stream_of(choices: list[dict[str, Any]], seed: int, longest: int = 9) -> list[dict[str, Any]]:
    """Events of a stream that says these choices: their texts in pieces, interleaved."""
    source = random.Random(seed)
    queues: list[list[dict[str, Any]]] = []
    for index, said in enumerate(choices):
        pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        lanes: list[list[dict[str, Any]]] = [
            [{name: piece} for piece in cut(said[name], source, longest)] for name in TEXTS if name in said
        ]
        for number, call in enumerate(said.get("tool_calls", ())):
            first = {"index": number, "id": call["id"], "type": "function",
                     "function": {"name": call["function"]["name"], "arguments": ""}}  # fmt: skip
            lanes.append(
                [{"tool_calls": [first]}]
                + [
                    {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
                    for piece in cut(call["function"]["arguments"], source, longest)
                ]
            )
        while lanes:
            lane = source.choice(lanes)
            if lane:
                pieces.append(lane.pop(0))
            else:
                lanes.remove(lane)
        queue = [{"index": index, "delta": piece, "finish_reason": None, "logprobs": {"content": ["j"]}}
                 for piece in pieces]  # fmt: skip
        queues.append([*queue, {"index": index, "delta": {}, "finish_reason": said["finish_reason"]}])
    events = []
    while queues:
        queue = source.choice(queues)
        if queue:
            events.append(
                {"id": "c-1", "object": "chat.completion.chunk", "model": "m", "choices": [queue.pop(0)]}
            )
        else:
            queues.remove(queue)
    return [*events, {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}]


def whole_of(choices: list[dict[str, Any]]) -> bytes:
    """The same as a whole answer."""
    return json.dumps(
        {
            "id": "c-1",
            "choices": [
                {"index": i, "message": {k: v for k, v in said.items() if k != "finish_reason"},
                 "logprobs": {"content": []}, "finish_reason": said["finish_reason"]}
                for i, said in enumerate(choices)
            ],
            "usage": {"prompt_tokens": 1},
        }
    ).encode()  # fmt: skip


def said_in(body: bytes) -> dict[int, dict[str, Any]]:
    """A whole answer as `Streamed.put_together` has it."""
    return {
        each["index"]: {
            k: v for k, v in {**each["message"], "finish_reason": each["finish_reason"]}.items() if v
        }
        for each in json.loads(body)["choices"]
    }


LINES = [text for text, _ in samples()]
VALUED = st.one_of(
    st.lists(st.sampled_from([*LINES, "and", "<EMAIL_1>", "<EMAIL", "😀"]), max_size=3).map(" ".join),
    st.integers(0, 10_000).map(lambda seed: text_with_values(seed, 6)[0]),
)
CALLS = st.lists(
    st.builds(
        lambda text, number, ascii_only: {
            "id": "call_1",
            "type": "function",
            "function": {
                "name": "send",
                "arguments": json.dumps({"to": text, "n": number}, ensure_ascii=ascii_only),
            },
        },
        VALUED,
        st.sampled_from([1, 4111111111111111]),
        st.booleans(),
    ),
    max_size=2,
)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One or two choices, with any of the texts and with tool calls."""
    choices = []
    for _ in range(draw(st.integers(1, 2))):
        said: dict[str, Any] = {name: draw(VALUED) for name in TEXTS if draw(st.booleans())}
        calls = draw(CALLS)
        said |= {"tool_calls": calls} if calls else {}
        choices.append(said | {"finish_reason": draw(st.sampled_from(["stop", "length", "tool_calls"]))})
    return choices


def call_tokens() -> Tokens:
    """The tokens of a call whose request had an address."""
    tokens = Tokens(KEY)
    screen_text(one_action("tokenize"), "jane.doe@example.com", tokens)
    tokens.seal()
    return tokens


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    choices=answers(),
    seed=st.integers(0, 2**32),
    longest=st.sampled_from([1, 3, 9, 200]),
    action=st.sampled_from(["mask", "tokenize", "observe"]),
)
def test_a_stream_is_the_whole_answer(
    choices: list[dict[str, Any]], seed: int, longest: int, action: Action
) -> None:
    """Each text and each tool call comes out of a stream, however cut, as it comes out of the whole."""
    policy = one_action(action)
    whole_screen = AnswerScreen(policy, call_tokens(), several=True)
    whole = whole_screen.whole(whole_of(choices))
    streamed = Streamed(AnswerScreen(policy, call_tokens(), several=True), stream_of(choices, seed, longest))
    for which, expected in enumerate((whole.recorded, whole.given)):
        got = streamed.put_together(which)
        if action == "observe":
            continue
        assert got == said_in(expected)
    assert streamed.screen.findings == whole_screen.findings
    assert b"logprobs" not in json.dumps(streamed.out).encode() or action == "observe"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(text="020 7946 0524 2221-5184-3423-7772", seed=0, longest=9)
@given(text=VALUED, seed=st.integers(0, 2**32), longest=st.sampled_from([1, 9, 200]))
def test_a_blocked_stream(text: str, seed: int, longest: int) -> None:
    """The client has the text up to the first value, then `content_filter`, and nothing more."""
    policy = one_action("block")
    choices = [{"content": text, "finish_reason": "stop"}]
    streamed = Streamed(AnswerScreen(policy), stream_of(choices, seed, longest))
    whole = AnswerScreen(policy)
    body = whole.whole(whole_of(choices)).given
    expected = screen_text(policy, text)
    assert streamed.screen.blocked == expected.blocked == whole.blocked == streamed.screen.over
    got = streamed.put_together()[0]
    assert got.get("content", "") == expected.text
    assert got["finish_reason"] == ("content_filter" if expected.blocked else "stop")
    assert said_in(body) == {0: got}
    assert streamed.screen.findings == whole.findings


def test_a_value_in_a_tool_call_blocks() -> None:
    """Of a blocked call's arguments nothing is given, streamed or whole."""
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "send", "arguments": '{"to":"jane@example.com"}'},
    }
    choices = [{"content": "Sure", "tool_calls": [call], "finish_reason": "tool_calls"}]
    streamed = Streamed(AnswerScreen(one_action("block")), stream_of(choices, 1))
    assert streamed.put_together() == {0: {"content": "Sure", "finish_reason": "content_filter"}}
    whole = AnswerScreen(one_action("block")).whole(whole_of(choices))
    assert said_in(whole.given) == {0: {"content": "Sure", "finish_reason": "content_filter"}}


def event(**delta: Any) -> dict[str, Any]:
    """An event of choice 0."""
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


END = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def test_signed_thoughts() -> None:
    """A whole answer keeps them where they are what was signed, and loses them where a policy changed them; a
    stream loses them."""
    fine = {"type": "thinking", "thinking": "hm", "signature": "S"}
    mail = fine | {"thinking": "x@example.com"}
    hidden = {"type": "redacted_thinking", "data": "D"}
    for blocks, kept in (([fine, hidden], [fine, hidden]), ([fine, mail], None), ([hidden, mail], None)):
        screen = AnswerScreen(one_action("mask"))
        message = {"role": "assistant", "content": "to a@example.com", "thinking_blocks": blocks}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        said = json.loads(screen.whole(json.dumps({"id": "x", "choices": choices}).encode()).given)
        assert said["choices"][0]["message"].get("thinking_blocks") == kept
        assert "example.com" not in json.dumps(said)
        assert said["choices"][0]["finish_reason"] == "stop"
    streamed = AnswerScreen(one_action("mask")).event(json.dumps(event(thinking_blocks=[fine])).encode())
    assert b"thinking" not in b"".join(each.given for each in streamed)


@pytest.mark.parametrize("in_turn", [False, True])
def test_thoughts_and_words_that_take_turns(*, in_turn: bool) -> None:
    """Both are read as one text each. `in_turn`, for dialects that cannot say them together, all of the
    thoughts up to then goes out before the first word."""
    events = [
        event(reasoning_content="Think of jane@exam"),
        event(reasoning_content="ple.com"),
        event(content="It is kim@exam"),
        event(reasoning_content=" and a@exam"),
        event(content="ple.org"),
        event(reasoning_content="ple.com"),
    ]
    streamed = Streamed(AnswerScreen(MASK, in_turn=in_turn), [*events, END])
    deltas = [each["delta"] for out in streamed.out[1] for each in out["choices"]]
    first = next(delta for delta in deltas if delta.get("content"))
    assert first.get("reasoning_content") == ("[EMAIL]" if in_turn else None), deltas
    said = streamed.put_together()[0]
    assert said["reasoning_content"] == "Think of [EMAIL] and [EMAIL]"
    assert said["content"] == "It is [EMAIL]"
    (words, thoughts) = streamed.screen.findings
    assert (words.count, thoughts.count) == (1, 2)


@pytest.mark.parametrize("phone", ["observe", "mask", "tokenize"])
@pytest.mark.parametrize("action", ["observe", "mask", "tokenize"])
def test_thoughts_end_at_any_value_under_any_policy(action: Action, phone: Action) -> None:
    """Kinds may be acted on and counted in one; a key that may grow is a value already, a name in a
    piece that is not whole is known."""
    actions: dict[str, Action] = {"email": action, "secret": action, "person": action, "phone": phone}
    thought = "Jane, +1 415 555 2671, a@example.com, token=ghp_" + "a1B2c3D4e5" * 50
    for end in (*range(1, 80), 300, len(thought)):
        policy = screening_policy(actions, Names(find=find_jane))
        pieces = [thought[at : min(end, at + 100)] for at in range(0, end, 100)]
        events = [*(event(reasoning_content=each) for each in pieces), event(content="It is."), END]
        done = Streamed(AnswerScreen(policy, call_tokens(), in_turn=True), events)
        whole = screen_text(policy, thought[:end], call_tokens())
        assert done.put_together(0)[0]["reasoning_content"] == whole.text
        assert {each.kind: each.count for each in done.screen.findings} == whole.findings


def find_jane(piece: str) -> tuple[tuple[int, int, str], ...]:
    """What a model would find."""
    return tuple((at, at + 4, "person") for at in range(len(piece)) if piece.startswith("Jane", at))


def test_a_value_around_the_first_word() -> None:
    """What went out of it was no value yet; no more of it does."""
    events = [
        event(reasoning_content="Ask jane@exam"),
        event(content="It "),
        event(reasoning_content="ple.com, or kim@example.com "),
    ]
    masked = Streamed(AnswerScreen(MASK, in_turn=True), [*events, END])
    assert masked.put_together()[0]["reasoning_content"] == "Ask jane@exam[EMAIL], or [EMAIL] "
    blocked = Streamed(AnswerScreen(one_action("block"), in_turn=True), [*events, END])
    assert blocked.screen.blocked
    assert blocked.put_together()[0]["reasoning_content"] == "Ask jane@exam"


def test_what_is_not_known_does_not_pass() -> None:
    """Members of a stream's events that may spell the text once more are left out; numbers and flags stay."""
    odd = event(content="hi ") | {"__verbose": {"content": "jane@exa"}, "took_ms": 5}
    odd["choices"][0] |= {"token_ids": [1, 2], "seen": True, "note": "jane@exa"}
    odd["choices"][0]["delta"] |= {
        "reasoning_details": [{"text": "jane@"}],
        "audio": {"transcript": "j"},
        "score": 1,
    }
    streamed = Streamed(AnswerScreen(MASK), [odd, {"choices": "jane@example.com"}, END])
    first = streamed.out[1][0]
    assert first == {
        "id": "c",
        "took_ms": 5,
        "choices": [
            {"index": 0, "delta": {"score": 1, "content": "hi "}, "finish_reason": None, "seen": True}
        ],
    }
    assert "jane" not in json.dumps(streamed.out)
    role = Streamed(AnswerScreen(MASK), [event(role="jane@example.com", content="x "), END])
    assert "example" not in json.dumps(role.out)
    cunning = {
        "choices": [{"index": 0, "delta": {"role": "jane@example.com"}, "finish_reason": "a@example.com"}]
    }
    assert "example" not in json.dumps(Streamed(AnswerScreen(MASK), [cunning]).out)


def test_text_that_a_cut_stream_leaves() -> None:
    """What was held when a stream ends without a finish_reason stays held, but is counted."""
    streamed = Streamed(AnswerScreen(MASK), [event(content="mail jane@exam"), event(content="ple.com")])
    assert streamed.put_together() == {0: {"content": "mail "}}
    (found,) = streamed.screen.findings
    assert (found.kind, found.count) == ("email", 1)


def test_tool_calls_beyond_the_bound_are_blocked() -> None:
    """More than may be held is not let through."""
    piece = {"index": 0, "function": {"arguments": "x" * (HELD_BYTES_MAX // 4)}}
    streamed = Streamed(AnswerScreen(MASK), [event(tool_calls=[piece]) for _ in range(6)])
    assert streamed.put_together() == {0: {"finish_reason": "content_filter"}}
    assert streamed.screen.blocked


def test_text_completions() -> None:
    """`text` of completions is screened like content."""
    events = [
        {"choices": [{"index": 0, "text": piece, "finish_reason": None}]}
        for piece in ("to j", "@x.example.com.")
    ]
    done = Streamed(
        AnswerScreen(MASK), [*events, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}]
    )
    assert done.put_together() == {0: {"text": "to [EMAIL].", "finish_reason": "stop"}}
    whole = AnswerScreen(MASK).whole(
        b'{"choices":[{"index":0,"text":"to j@x.example.com.","logprobs":{"t":[]}}]}'
    )
    assert json.loads(whole.given) == {"choices": [{"index": 0, "text": "to [EMAIL].", "logprobs": None}]}


def test_a_whole_answer_keeps_its_bytes() -> None:
    """An answer without values passes as the same object."""
    raw = (
        b'{ "id":"x", "choices":[{"index":0,"message":{"content":"caf\\u00e9 \\n ok"}}], "usage": {"a":1.50}}'
    )
    passed = AnswerScreen(MASK).whole(raw)
    assert passed.given is passed.recorded is raw
