"""Events that are like one before them but for a text: which are, and what their text is."""

from __future__ import annotations

import pytest

from airboss.providers.known_text import BYTES_MAX, only_text

LIKE = b'{"id":"c","choices":[{"index":2,"delta":{"content":"%s"},"finish_reason":null}],"x":"y"}'


@pytest.mark.parametrize("text", [b"a", b'"', b"a\\nb", "\u00e9\U0001f600".encode(), b""])
def test_the_text_of_another(text: bytes) -> None:
    """Whatever it is."""
    known = only_text(LIKE % b"So")
    assert known is not None
    assert (known.index, known.name) == (2, "content")
    escaped = text.replace(b'"', b'\\"')
    data = LIKE % escaped
    assert known.text_in(data) == text.decode().replace("\\n", "\n")
    assert known.text_of(b"data: %s\n\n" % data) == known.text_in(data)


@pytest.mark.parametrize(
    "other",
    [
        LIKE.replace(b"2", b"1") % b"a",
        LIKE.replace(b'"y"', b'"z"') % b"a",
        LIKE.replace(b'"%s"', b"null"),
        LIKE.replace(b'"%s"', b'\n\n"a"'),
        LIKE.replace(b'"%s"', b'"a" '),
        LIKE % b'a","b":"',
        LIKE % b"a\n\nb",
        LIKE % b"\\ud800",
        LIKE % b"\xff",
        LIKE % b"a" + b" ",
        b"",
        LIKE[: LIKE.index(b"%s")] + LIKE[LIKE.index(b"%s") + 3 :],
    ],
)
def test_another_event(other: bytes) -> None:
    """What differs by more than its text is not told by its bytes, nor what must be read to be told."""
    known = only_text(LIKE % b"So")
    assert known is not None
    assert known.text_in(other) is None
    assert known.text_of(b"data: %s\n\n" % other) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"delta":{"content":""}}]}',
        b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}',
        b'{"choices":[{"delta":{"content":"a"},"message":{}}]}',
        b'{"choices":[{"delta":{"content":"a"},"text":"b"}]}',
        b'{"choices":[{"delta":{"content":"a","refusal":"b"}}]}',
        b'{"choices":[{"delta":{"content":"a","reasoning_content":"b"}}]}',
        b'{"choices":[{"delta":{"content":"a","tool_calls":[{"index":0}]}}]}',
        b'{"choices":[{"delta":{"content":"a","images":[{}]}}]}',
        b'{"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}',
        b'{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}',
        b'{"choices":[{"delta":{"content":"%s"}}]}' % (b"a" * BYTES_MAX),
    ],
)
def test_what_says_more(data: bytes | None) -> None:
    """Nothing is told by an event that says something else, or nothing at all."""
    assert only_text(data) is None


@pytest.mark.parametrize("name", ["content", "reasoning_content", "text"])
def test_texts_by_name(name: str) -> None:
    """Each is found by its own name, wherever else that stands."""
    said = b'{"%s":"So"}' % name.encode()
    choice = said if name == "text" else b'{"delta":%s}' % said
    known = only_text(b'{"x":{"%s":"a"},"choices":[%s]}' % (name.encode(), choice))
    assert known is not None
    assert known.name == name
    assert known.before.startswith(b'{"x":{"%s":"a"}' % name.encode())
