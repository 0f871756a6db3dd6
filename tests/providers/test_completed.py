"""Text completions of a raw prompt, read as chat answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import UpstreamFailed
from airboss.providers.completed import CompletedReader, Trimmed

TEXTS = st.text(st.sampled_from("ab \n\t.é😀"), max_size=30)
SPACE = " \t\r\n"


def pieces(text: str, cuts: list[int]) -> list[str]:
    """The text, cut at these places."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


def event(text: str, finish: str | None = None, *, index: int = 0, **more: Any) -> bytes:
    """An event of the upstream's."""
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    body = {"id": "c", "object": "text_completion", "created": 7, "model": "m", "choices": [choice]}
    return json.dumps(body | more).encode()


@given(TEXTS, st.lists(st.integers(0, 40), max_size=8), st.booleans())
def test_trimming_does_not_depend_on_the_cuts(text: str, cuts: list[int], begun: bool) -> None:
    """However a text is cut, what comes out is the text without the white space around it; of one that was
    begun before, without that at its end."""
    trimmed = Trimmed(begun=begun)
    out = "".join(trimmed.add(piece) for piece in pieces(text, cuts))
    assert out == (text.rstrip(SPACE) if begun else text.strip(SPACE))


@given(TEXTS, st.lists(st.integers(0, 40), max_size=8), st.booleans())
def test_a_stream_says_what_the_whole_answer_says(text: str, cuts: list[int], chat: bool) -> None:
    """Joined, the pieces of a stream are the text of the whole answer; role and reason come once."""
    whole = json.loads(CompletedReader(chat=chat, begun=False).whole(event(text, "stop")))
    reader = CompletedReader(chat=chat, begun=False)
    made = [json.loads(out) for piece in pieces(text, cuts) for out in reader.event(event(piece))]
    made += [json.loads(out) for out in reader.event(event("", "stop"))]
    choices = [chunk["choices"][0] for chunk in made]
    if chat:
        said = "".join(choice["delta"].get("content", "") for choice in choices)
        assert said == whole["choices"][0]["message"]["content"]
        assert [choice["delta"].get("role") for choice in choices].count("assistant") == 1
    else:
        assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]


def test_choices_are_trimmed_apart() -> None:
    """Two answers that take turns do not lend each other their white space."""
    reader = CompletedReader(chat=True, begun=False)
    events = [event(" a\n", index=0), event(" b ", index=1), event("c", index=0), event("", "stop", index=1)]
    made = [json.loads(out)["choices"][0] for each in events for out in reader.event(each)]
    texts = [(each["index"], each["delta"].get("content")) for each in made]
    assert texts == [(0, "a"), (1, "b"), (0, "\nc"), (1, None)]


def test_the_rest_of_an_answer_keeps_its_bytes() -> None:
    """Usage, numbers as they were written and members that we do not know pass through."""
    raw = event(" x", "length").replace(b'"c"', b'"c","timings":{"ms":1.50},"usage":{"prompt_tokens":3}')
    assert b'"timings":{"ms":1.50},"usage":{"prompt_tokens":3}' in CompletedReader(
        chat=True, begun=False
    ).whole(raw)


def test_usage_passes_in_an_event_of_its_own() -> None:
    """The last event, which has the usage and no choice, becomes a chunk of a chat."""
    data = b'{"id":"c","object":"text_completion","choices":[],"usage":{"prompt_tokens":3}}'
    (made,) = CompletedReader(chat=True, begun=False).event(data)
    assert json.loads(made) == {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {"prompt_tokens": 3},
    }


@pytest.mark.parametrize(
    "data", [b'{"error":{"message":"no"}}', b"[DONE]", b'{"prompt_progress":{"total":9}}']
)
def test_what_is_no_text_passes(data: bytes) -> None:
    """Errors, the end and an engine's progress are left as they are."""
    assert CompletedReader(chat=True, begun=False).event(data) == [data]


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"choices":[{"text":7}]}', b"\xff"])
def test_nonsense_is_an_upstreams_failure(data: bytes) -> None:
    """What is not JSON of the right shape ends the attempt."""
    reader = CompletedReader(chat=True, begun=False)
    for read in (reader.event, reader.whole):
        with pytest.raises(UpstreamFailed, match="no text completion"):
            read(data)
