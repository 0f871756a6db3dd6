"""Pieces of a stream that are one event of a known kind: what comes of them is what comes of the same bytes
cut in any other way."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import UpstreamFailed
from airboss.domain.record import PolicyFinding
from airboss.gateway import screened_answers
from airboss.gateway.answer import StreamedAnswer
from airboss.gateway.screened_answers import ScreenedStreamedAnswer
from airboss.gateway.seam import Seam
from airboss.governance.screening import screen_text
from airboss.governance.screening_chat import AnswerScreen
from airboss.governance.tokens import Tokens
from tests.support.policies import one_action

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
ACTIONS = ["none", "mask", "tokenize", "block", "observe"]
DONE = b"data: [DONE]\n\n"


def event(delta: dict[str, Any], *, index: int = 0, reason: str | None = None, **more: Any) -> bytes:
    """A chat's event, as most providers write it."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    said = json.dumps({**HEAD, "choices": [choice], **more}, separators=(",", ":"), ensure_ascii=False)
    return b"data: %s\n\n" % said.encode()


class Client:
    """Takes what a client is sent."""

    writable = True
    on_writable = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.got = b""

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """The first piece."""
        assert (status, headers) == (200, b"")
        self.got += first

    def stream(self, data: bytes) -> None:
        """A piece more."""
        assert data
        self.got += data


class Came(NamedTuple):
    """What came of a stream."""

    got: bytes
    recorded: bytes | None
    error: str | None
    raw: str
    counts: tuple[int, int, bool]
    findings: tuple[PolicyFinding, ...]


def tokens() -> Tokens:
    """Of a call whose request had an address."""
    made = Tokens(b"the key of one call")
    screen_text(one_action("tokenize"), "jane.doe@example.com", made)
    made.seal()
    return made


def answer_of(action: str, client: Client, *, several: bool = True) -> StreamedAnswer:
    """An answer under a policy that does this, or under none."""
    kind = StreamedAnswer if action == "none" else ScreenedStreamedAnswer
    answer = kind(
        "p",
        cast("Any", client),
        operation="chat",
        keep_usage=True,
        response_head=lambda: b"",
    )
    if isinstance(answer, ScreenedStreamedAnswer):
        policy = one_action(cast("Any", action))
        answer.screen, answer._said = AnswerScreen(policy, tokens(), several=several), []
    return answer


def came(action: str, pieces: list[bytes], *, several: bool = True) -> Came:
    """What comes of a stream in such pieces."""
    loop = asyncio.new_event_loop()
    try:
        client = Client(loop)
        answer = answer_of(action, client, several=several)
        answer.head(200, {})
        for piece in pieces:
            answer.body(piece)
        answer.done()
        error = answer.error
        return Came(
            client.got,
            answer.assembly.response(),
            None if error is None else f"{type(error).__name__}: {error}",
            answer.raw_text,
            (answer.assembly.pieces, answer.assembly.output_chars, answer.assembly.settled),
            answer.screen.findings if isinstance(answer, ScreenedStreamedAnswer) else (),
        )
    finally:
        loop.close()


def astride(events: list[bytes]) -> list[bytes]:
    """The same bytes in pieces of which none is a whole event."""
    stream = b"".join(events)
    ends = [0]
    for each in events:
        ends.append(ends[-1] + len(each))
    cuts = [0, *(end + 1 for end in ends[1:-1]), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(cuts)]


VALUES = [
    "To be",
    " or not ",
    "jane@example.com ",
    "or",
    " jane.doe@",
    "example.com",
    ", ",
    "4111 1111 1111 1111",
]
PARTS = [b"event: error\n", b": hello\n", b"id: 7\n", b"data:\n", b"\n", b"da", b"data: {"]
TEXT = st.text(st.sampled_from('ab \\"\n\u00e9\u4e2d\U0001f600{}:,'), max_size=6) | st.sampled_from(
    [*VALUES, " 1111 1111", "<EMAIL_1>", "<EMA", "IL_1>", '"},"', "\u2028", "word", " 4111 1111 1111 1111 "]
)
DELTA = st.one_of(
    *[st.fixed_dictionaries({"content": TEXT})] * 5,
    st.fixed_dictionaries({"reasoning_content": TEXT}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXT}),
    st.fixed_dictionaries({"content": TEXT, "refusal": TEXT}),
    st.fixed_dictionaries({"content": TEXT, "audio": st.just({"id": "x"})}),
    st.fixed_dictionaries({"content": TEXT, "images": st.just([{"type": "image_url"}])}),
    st.fixed_dictionaries({"content": st.none()}),
)
EVENT = st.one_of(
    *[st.builds(event, DELTA)] * 6,
    st.builds(event, DELTA, index=st.just(1)),
    st.builds(event, DELTA, obfuscation=st.sampled_from(["", "xy"])),
    st.builds(event, DELTA, usage=st.sampled_from([None, {"prompt_tokens": 1, "completion_tokens": 2}])),
    st.builds(event, DELTA, error=st.sampled_from([None, "", {"message": "no"}])),
    st.builds(event, st.just({}), reason=st.just("stop")),
    st.sampled_from(PARTS),
    st.sampled_from([b": hello\n\n", b"data:\n\n", b'data: {"choices":[]}\n\n', b"data: {\n\n", DONE]),
)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("end", [[], [event({}, reason="stop")], [event({}, reason="stop"), DONE]])
@pytest.mark.parametrize("action", ACTIONS)
def test_values_in_a_usual_stream(action: str, end: list[bytes], several: bool) -> None:
    """Masked, blocked, given back, and whatever is held when the stream ends or breaks off."""
    texts = [event({"content": text}) for text in ["So ", "it ", *VALUES]]
    for count in range(2, len(texts) + 1):
        stream = texts[:count] + end
        assert came(action, stream, several=several) == came(action, astride(stream), several=several)


@pytest.mark.parametrize("action", ACTIONS)
def test_each_piece_is_progress(action: str) -> None:
    """An answer that goes on has no deadline behind it, however many of its pieces are of a known kind."""
    loop = asyncio.new_event_loop()
    try:
        answer = answer_of(action, Client(loop))
        answer.head(200, {})
        for _ in range(6):
            answer.progress_at = 0.0
            answer.body(event({"content": "on "}))
            assert answer.progress_at > 0
    finally:
        loop.close()


@pytest.mark.parametrize("action", ACTIONS[1:])
def test_a_text_too_long_to_go_on_with_is_let_go(monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """Nobody is asked to go on with so much; what is kept of an answer has an end."""
    monkeypatch.setattr(screened_answers, "OUTPUT_CHARS_MAX", 12)
    texts = [event({"content": "on "}) for _ in range(9)]
    whole, cut = came(action, texts), came(action, astride(texts))
    assert (whole.raw, whole) == ("", cut)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("action", ACTIONS)
def test_behind_a_part_of_an_event(action: str, part: bytes) -> None:
    """What looks like a whole event is the rest of another."""
    texts = [event({"content": text}) for text in ("So ", "it ", "goes ", "on ", "and ", "on ")]
    for before in ([*texts[:4], part], [*texts[:3], texts[3] + part]):
        stream = [*before, *texts[4:], event({}, reason="stop"), DONE]
        assert came(action, stream) == came(action, astride(stream))


USED = {"prompt_tokens": 1, "completion_tokens": 2}
ODD = {
    "goes on after its end": [event({}, reason="stop"), event({"content": "on "})],
    "two that end apart": [event({}, index=1, reason="stop"), event({"content": "on "})],
    "usage beside the text": [
        event({"content": "on "}, usage=USED),
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n',
        event({"content": "and "}, usage=USED),
    ],
    "sound beside the text": [event({"content": each, "audio": {"id": "x"}}) for each in ("on ", "and ")],
    "thoughts, then words": [
        event({name: text}, index=index)
        for name, index in (("reasoning_content", 0), ("content", 0), ("content", 1), ("content", 0))
        for text in ("on ", "and ", "on ")
    ],
    "an error": [event({"content": "on "}, error={"message": "no"})],
    "a reason": [event({"content": each}, reason="length") for each in ("on ", "and ")],
    "several choices": [
        b'data: {"choices":[{"delta":{"content":"%s"}},{"index":1,"delta":{"content":"b"}}]}\n\n' % each
        for each in (b"on ", b"and ")
    ],
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("action", ACTIONS)
def test_odd_streams(action: str, odd: str) -> None:
    """What is more than a text is read."""
    stream = [*(event({"content": text}) for text in ("So ", "it ", "goes ")), *ODD[odd] * 2]
    assert came(action, stream) == came(action, astride(stream))


@pytest.mark.parametrize("action", ["none", "mask"])
def test_where_another_attempt_goes_on(action: str) -> None:
    """What it says again is not told by its bytes, which are like those of the first."""
    loop = asyncio.new_event_loop()
    client = Client(loop)
    first, second = answer_of(action, client), answer_of(action, client)
    texts = [event({"content": text}) for text in ("So ", "it ", "goes ", "on ")]
    for answer, events in ((first, texts[:3]), (second, [b": hello\n\n", *texts])):
        answer.head(200, {})
        if answer is second:
            named = first.assembly.first
            assert named is not None
            text = first.raw_text
            second.go_on(first, Seam(named, text, tokens=3, prompt_tokens=None, blank="", exact=False))
        for each in events:
            answer.body(each)
        answer.fail(UpstreamFailed("broke"))
        assert str(answer.error) == "broke"
    assert [client.got.count(b'"%s "' % each) for each in (b"So", b"it", b"goes", b"on")] == [1, 1, 1, 1]
    loop.close()


@pytest.mark.parametrize("more", [{}, {"obfuscation": "aB3"}, {"usage": None}])
@pytest.mark.parametrize("action", ["none", "mask", "tokenize", "block"])
def test_usual_events_are_read_no_other_way(action: str, more: dict[str, Any]) -> None:
    """Once two texts have come, of which one may be held back."""
    loop = asyncio.new_event_loop()
    client = Client(loop)
    answer = answer_of(action, client)
    answer.head(200, {})
    for text in ("So ", "it ", "goes "):
        answer.body(event({"content": text}, **more))
    answer.events = cast("Any", None)
    answer.body(event({"content": "on "}, **more))
    answer.fail(UpstreamFailed("no more"))
    assert str(answer.error) == "no more"
    assert b'"on "' in client.got
    loop.close()


@settings(max_examples=1200, deadline=None)
@given(
    st.sampled_from(ACTIONS),
    st.lists(EVENT, max_size=20),
    st.booleans(),
)
def test_what_comes_is_the_same(action: str, events: list[bytes], ends: bool) -> None:
    """Whether each event comes alone, or none does."""
    stream = [event({"content": "So "}), event({"content": "it "}), *events]
    stream += [event({}, reason="stop"), DONE] * ends
    assert came(action, stream) == came(action, astride(stream))
