"""What is made of an upstream's answer, however odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, Unavailable, UpstreamFailed, UpstreamRefused
from airboss.providers.assembly import Assembly
from airboss.providers.compatible import (
    as_api_error,
    error_in,
    read_error,
    read_reply,
    request_head,
    retry_after_s,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "usage", "index", "content", "tool_calls", "error", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Whatever JSON comes, it is read as far as it goes or is an upstream's failure."""
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    try:
        reply = read_reply(data)
    except UpstreamFailed:
        return
    assembly = Assembly("chat")
    assembly.add(reply)
    assembly.response()
    assert isinstance(read_error(data).message, object)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_error_with_words(data: bytes) -> None:
    """An error answer that is no JSON still says something, and never raises."""
    error = as_api_error("p", 500, read_error(data), retry_after_s=None)
    assert "provider 'p' answered 500" in error.message


@pytest.mark.parametrize("body", [b'{"error": {"message": "boom"}}', b'{"id": "c1", "choices": []}'])
def test_an_answer_that_is_none_is_not_told_by_a_status(body: bytes) -> None:
    """It came with 200: nobody is sent to look for another status at the provider."""
    error = error_in("p", body)
    assert error.http_status == 502
    assert error.message.startswith("provider 'p' failed within an answer: ")


def test_an_error_in_a_list_is_one() -> None:
    """As Google's own OpenAI endpoint has it."""
    said = read_error(b'[{"error": {"code": 400, "message": "API key not valid"}}]')
    assert (said.message, said.code) == ("API key not valid", 400)
    assert read_error(b"[]").message == "'[]'"


def test_odd_parts_do_not_hide_the_rest() -> None:
    """A count that cannot be true is no count; the text beside it is still counted."""
    reply = read_reply(
        b'{"choices":[{"index":0,"delta":{"content":"abc"},"finish_reason":null}],"usage":{"prompt_tokens":-5}}'
    )
    assert reply.usage is None
    assembly = Assembly("chat")
    assembly.add(reply)
    assert assembly.output_chars == 3


@pytest.mark.parametrize(
    ("status", "kind", "http_status"),
    [
        (400, UpstreamRefused, 400),
        (401, UpstreamFailed, 502),
        (403, UpstreamFailed, 502),
        (404, UpstreamFailed, 502),
        (413, UpstreamRefused, 413),
        (422, UpstreamRefused, 422),
        (429, UpstreamRefused, 429),
        (500, UpstreamFailed, 502),
        (503, Unavailable, 503),
        (529, Unavailable, 503),
    ],
)
def test_whose_mistake_it_is(status: int, kind: type[ApiError], http_status: int) -> None:
    """The caller's mistakes keep their status; the operator's and the provider's are 502 or 503."""
    error = as_api_error("p", status, read_error(b'{"error":{"message":"no"}}'), retry_after_s=2.0)
    assert type(error) is kind
    assert error.http_status == http_status


@pytest.mark.parametrize(
    ("error", "http_status"),
    [
        ({"message": "The model `my_finetune` does not exist.", "param": None, "code": 404}, 502),
        (
            {
                "message": "The model `ft:gpt-4o:org:my_suffix1:Ab12` does not exist or you have no access",
                "code": "model_not_found",
            },
            502,
        ),
        ({"message": "rs_0d4f17 not found", "code": "model_not_found", "param": "x"}, 502),
        ({"message": "Model with id x not found"}, 502),
        ({"message": "my_model1 not found", "param": "model"}, 502),
        ({"message": "Item with id 'rs_0d4f' not found. Choose another model."}, 404),
        ({"message": "File file-68628828 not found"}, 404),
        ({"message": "none", "param": "previous_response_id"}, 404),
    ],
)
def test_what_is_not_there(error: dict[str, Any], http_status: int) -> None:
    """Something that the request names is the caller's to mend; the model's name there is the operator's."""
    said = read_error(json.dumps({"error": error}).encode())
    assert as_api_error("p", 404, said, retry_after_s=None).http_status == http_status


AT_HALF_PAST = b"Wed, 21 Oct 2026 07:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({b"retry-after": b"3"}, 3.0),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 1.5),
        ({b"retry-after": b"Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({b"retry-after": AT_HALF_PAST, b"date": b"Wed, 21 Oct 2026 07:29:30 GMT"}, 30.0),
        ({b"retry-after": AT_HALF_PAST, b"date": b"Wednesday, 21-Oct-26 07:29:30 GMT"}, 30.0),
        ({b"retry-after": AT_HALF_PAST, b"date": AT_HALF_PAST}, 0.0),
        ({b"retry-after": AT_HALF_PAST, b"date": b"Wed, 21 Oct 2026 07:31:00 GMT"}, None),
        ({b"retry-after": AT_HALF_PAST, b"date": b"now"}, None),
        ({b"retry-after": AT_HALF_PAST, b"date": b"Tue, 21 Oct 1986 07:30:00 GMT"}, 7 * 86_400),
        ({b"retry-after": b"99 Foo 99999999 99:99:99 \xff", b"date": AT_HALF_PAST}, None),
        ({b"retry-after": b"-1"}, None),
        ({b"retry-after": b"nan"}, None),
        ({b"retry-after": b"inf"}, None),
        ({}, None),
        ({b"retry-after": b"1e308"}, 7 * 86_400),
    ],
)
def test_retry_after(headers: dict[bytes, bytes], seconds: float | None) -> None:
    """Seconds and milliseconds are read; anything else is no advice."""
    assert retry_after_s(headers) == seconds


def test_request_head() -> None:
    """The head names host, path, length and credentials, and asks for no compression."""
    head = request_head(
        host="h:1", base_path="/v1", operation="chat", secret="s", trace=None, length=7
    ).decode()
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\nhost: h:1\r\n")
    assert "\r\nauthorization: Bearer s\r\n" in head
    assert "\r\naccept-encoding: identity\r\n" in head
    assert "\r\ncontent-length: 7\r\n" in head
    assert head.endswith("\r\n\r\n")


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=5)), max_size=30))
def test_a_stream_is_put_together(pieces: list[tuple[int, str]]) -> None:
    """The pieces of each choice, in whatever turns they come, make its text."""
    assembly = Assembly("chat")
    for index, text in pieces:
        event = {"choices": [{"index": index, "delta": {"content": text}}]}
        assembly.add(read_reply(json.dumps(event).encode("utf-8", "replace")))
    response = assembly.response()
    said = (
        {c["index"]: c["message"]["content"] or "" for c in json.loads(response)["choices"]}
        if response
        else {}
    )
    for index in {i for i, _ in pieces}:
        assert said[index] == "".join(t for i, t in pieces if i == index)
    assert assembly.output_chars == sum(len(t) for _, t in pieces)
