"""A long body read by its outline is read as if all of it were."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import InvalidRequest
from airboss.gateway import asking, wire
from airboss.gateway import outline as outlines
from airboss.gateway.outline import BEGINNING_CHARS, KEPT, beginning, outline, plain_ends, what_is_said
from airboss.gateway.splice import LONG, in_pieces, members, replace_model

LONG_VALUES = st.recursive(
    st.sampled_from(
        [
            "x" * 3 * LONG,
            "é😀" * LONG,
            "ab" * LONG + "\n" + "x" * 2 * LONG,
            '"' * 3 + "y" * 3 * LONG,
            "," + "z" * 3 * LONG,
            "[{" * LONG,
            "short",
            12,
            [1] * LONG,
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=5,
)
LAYOUTS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",", ": ")])


@given(
    st.dictionaries(st.text(max_size=3) | st.just("n" * 3 * KEPT), LONG_VALUES, max_size=3),
    LAYOUTS,
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_only_the_ends_of_long_strings_are_left_out(
    whole: dict[str, Any], layout: tuple[str, str], ascii_only: bool
) -> None:
    """An outline says the same but for those, and tells where in the whole each of its bytes stands."""
    text = json.dumps(whole, separators=layout, ensure_ascii=ascii_only).encode()
    known = outline(text, plain_ends(text))
    assert begins(json.loads(known.text), whole)
    assert len(known.text) == len(text) - sum(end - start for start, end in known.cuts)
    for at in {0, len(known.text) - 1, *(start + off for start, _ in known.cuts for off in (-1, 0, 1))}:
        if 0 <= at < len(known.text):
            assert known.text[at] == text[known.back(at)]


def begins(cut: Any, whole: Any) -> bool:
    """Whether `cut` is `whole`, but for ends of strings that nobody reads."""
    if isinstance(whole, dict):
        return list(cut) == list(whole) and all(begins(cut[name], whole[name]) for name in whole)
    if isinstance(whole, list):
        return len(cut) == len(whole) and all(map(begins, cut, whole))
    if isinstance(whole, str) and cut != whole:
        return whole.startswith(cut) and len(cut) >= KEPT // 4 - 1
    return cut == whole


def test_what_is_long_is_cut() -> None:
    """What it is for: most of the bytes are not looked at again, of an image as of a prompt with escapes."""
    url = "data:image/png;base64," + "QUJD" * LONG
    said = {"messages": [{"role": "user", "content": [{"image_url": {"url": url}, "type": "image_url"}]}]}
    text = json.dumps(said, separators=(",", ":")).encode()
    assert len(outline(text, plain_ends(text)).text) < 2 * KEPT + 100 < len(text)
    prose = 'He said: "é"\n' * 9000
    said = {
        "messages": [{"role": "user", "content": prose}, {"content": [{"text": prose + "!"}], "role": "a"}]
    }
    for layout in ((",", ":"), (", ", ": ")):
        text = json.dumps(said, separators=layout).encode()
        known = outline(text, what_is_said(text))
        assert len(known.text) < 200 < len(text)
        assert begins_or_nothing(json.loads(known.text), said)


def begins_or_nothing(cut: Any, whole: Any) -> bool:
    """Whether it is the same but for ends, or all, of strings."""
    if isinstance(whole, dict):
        return list(cut) == list(whole) and all(begins_or_nothing(cut[name], whole[name]) for name in whole)
    if isinstance(whole, list):
        return len(cut) == len(whole) and all(map(begins_or_nothing, cut, whole))
    return whole.startswith(cut) if isinstance(whole, str) else cut == whole


@given(
    st.lists(
        st.sampled_from(["word ", "\\n", '\\"', "\\u00e9", "\\ud83d\\ude00", "é", "😀", "\\\\"]), max_size=30
    )
)
@settings(deadline=None)
def test_a_beginning_ends_between_characters(pieces: list[str]) -> None:
    """So many characters, or all; never half an escape."""
    string = ('"' + "".join(pieces) * 600 + '"').encode()
    whole = json.loads(string)
    cut = beginning(string)
    assert whole.startswith(cut)
    assert len(cut) >= min(BEGINNING_CHARS, len(whole))
    assert len(cut) < 13 * BEGINNING_CHARS


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("said", ["x" * 99_999, "é漢😀" * 33_333, 'So "é" said\n' * 9_999])
def test_calls_that_begin_alike_are_known(said: str, *, ascii_only: bool) -> None:
    """Of what a user says first, the characters that others look at are there, in whatever alphabet."""
    body = {
        "messages": [{"role": "system", "content": "." + said}, {"role": "user", "content": said}],
        "model": "m",
    }
    text = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    assert asking.beginning(text, wire.parse_body("chat", text)) == said[:BEGINNING_CHARS].encode()


# -- what anybody may send

TALE = 'So "he" said\n' * 60
DECOYS = [
    TALE,
    TALE + TALE,
    "x" + TALE,
    "\\" + TALE,
    '"' + TALE,
    ':"' + TALE,
    TALE[:600] + "!",
    "plain words " * 80,
    "x" * 3 * KEPT,
    "é漢" * 6 * KEPT,
    ", 1, 2" * 200,
    "ends with:",
    " " * 600,
    "\\" * 700,
    '"' * 600,
    '\\":' * 300,
]
said = st.sampled_from(DECOYS)
anything = st.recursive(
    said | st.sampled_from([1, None, True, 1.5]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(said | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=4,
)
content = (
    said
    | st.none()
    | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": said}), max_size=3)
    | anything
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "tool"]), "content": content},
    optional={"name": said, "tool_calls": anything},
)
bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(message, min_size=1, max_size=4)},
    optional={
        "prompt_variables": st.dictionaries(st.text(max_size=2), said, max_size=2),
        "user": said,
        "tools": anything,
        "stop": said,
        TALE: said,
    },
)
PADDING = json.dumps(TALE * 40).encode()


class Sent(msgspec.Struct):
    """A body, shown without the words that say nothing."""

    body: bytes

    def __repr__(self) -> str:
        return (
            self.body.replace(PADDING, b"PADDING")
            .replace(json.dumps(TALE)[1:-1].encode(), b"TALE")
            .decode("latin-1")[:2000]
        )


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """A long body, laid out in some way, and perhaps spoilt."""
    body = draw(bodies)
    order = draw(st.permutations(sorted(body)))
    layout, ascii_only = draw(LAYOUTS), draw(st.booleans())
    text = json.dumps(
        {name: body[name] for name in order}, separators=layout, ensure_ascii=ascii_only
    ).encode()
    pad = b'{"role":"user","content":%s}' % PADDING
    if draw(st.booleans()):
        text = text.replace(b'"messages":[', b'"messages":[%s,' % pad, 1)
    text = text[:-1] + b',"pad":%s}' % PADDING
    change = draw(st.sampled_from(["", "cut", "put", "twice", "deep"]))
    at = draw(st.integers(1, len(text) - 1))
    if change == "cut":
        text = text[:at] + text[at + draw(st.integers(1, 3)) :]
    elif change == "put":
        text = (
            text[:at]
            + draw(
                st.sampled_from(
                    [b'"', b"\\", b"\n", b"\0", b"\x1f", b"\x7f", b"\xff", b"}", b"]", b",", b"\\ud800"]
                )
            )
            + text[at:]
        )
    elif change == "twice":
        name = draw(st.sampled_from([b'"model"', json.dumps(TALE).encode(), b'"messages"', b'"mod\\u0065l"']))
        text = b"%s,%s:%s}" % (
            text[:-1],
            name,
            draw(st.sampled_from([b'"m"', b"[]", b"1", json.dumps(TALE).encode()])),
        )
    elif change == "deep":
        levels = draw(st.sampled_from([197, 198, 199, 200, 201]))
        text = text.replace(b'"model"', b'"deep":%s%s,"model"' % (b"[" * levels, b"]" * levels), 1)
    return Sent(text)


def read(body: bytes, *, slowly: bool) -> Any:
    """What is made of a body, by its outline or without."""
    decode = wire._DECODERS["chat"].decode if slowly else wire._read_long_chat
    try:
        parsed = wire.read_body(decode, body)
    except InvalidRequest as error:
        return error.message, error.code, error.param
    return json.loads(msgspec.json.encode(parsed))


@given(sent())
@settings(max_examples=400, deadline=None)
def test_an_outline_changes_nothing(sent: Sent) -> None:
    """Types, refusals, and what goes upstream are those of the whole body, whatever is made to look alike."""
    body = sent.body
    copy = bytes(bytearray(body))
    expected = read(copy, slowly=True)
    found = read(body, slowly=False)
    if isinstance(expected, tuple):
        assert found == expected
        return
    for quick, slow in zip(found["messages"], expected["messages"], strict=True):
        assert begins_or_nothing(quick, slow)
    heard = next((each["content"] for each in expected["messages"] if each["role"] == "user"), None)
    if isinstance(heard, str):
        quick_one = wire._read_long_chat(body)
        assert asking.beginning(body, quick_one) == heard[:BEGINNING_CHARS].encode()
    assert found | {"messages": 0} == expected | {"messages": 0}
    read(body, slowly=False)
    pieces = in_pieces(body, {"model": b'"up"'})
    if pieces is not None:
        assert json.loads(bytes(pieces)) == json.loads(body) | {"model": "up"}
    assert {name: json.loads(value) for name, value in members(body).items()} == json.loads(body)
    assert json.loads(replace_model(body, b'"up"')) == json.loads(body) | {"model": "up"}


SAID = json.dumps(TALE).encode()
LONGER = SAID[:-1] + b'","model":"m","z":"' + SAID[1:]


@pytest.mark.parametrize(
    ("before", "said", "says"),
    [
        pytest.param(b"%s:1,%s:2," % (SAID, SAID), SAID, "sent twice", id="names that say the same"),
        pytest.param(
            b'"a":%s,' % LONGER, SAID, "sent twice", id="a string that only begins so, and a member"
        ),
        pytest.param(
            b'"a":["",%s,",x"],' % (b"[" * 250 + b"]" * 250),
            b'",%s,"' % (b"[" * 250 + b"]" * 250),
            "nested",
            id="brackets between quotes",
        ),
        pytest.param(b'"a":%s,"model":"m",' % SAID, SAID, "sent twice", id="the same before"),
        pytest.param(b'"a":"x\\%s,"model":"m",' % SAID, SAID, "sent twice", id="a backslash before"),
        pytest.param(
            b'"a":"x\\\\",%s:1,%s:2,' % (SAID, SAID), SAID, "sent twice", id="two backslashes before"
        ),
    ],
)
def test_nothing_hides_behind_what_looks_alike(before: bytes, said: bytes, says: str) -> None:
    """Bytes that are those of a message elsewhere are no message."""
    if says == "sent twice" and before.startswith(b'"a":' + LONGER[:99]):
        said = SAID[:-1] + b"." * (len(LONGER) - len(SAID)) + b'"'
    body = b'{%s"messages":[{"role":"tool","content":%s}],"model":"m","pad":%s}' % (before, said, PADDING)
    with pytest.raises(InvalidRequest, match=says):
        wire.parse_body("chat", body)


@pytest.mark.parametrize("quick", [True, False])
def test_no_control_character_hides_in_what_is_cut(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands; the character after the last of them is one as any, and so is nothing at all."""
    if not quick:
        monkeypatch.setattr(outlines, "_control_searches", ())
    body = b'{"messages":[{"role":"user","content":"%s"}],"model":"m"}' % (b"x" * 9 * LONG)
    wire.parse_body("chat", body)
    for code in range(0x23):
        for at in (2 * KEPT, 5 * LONG, len(body) - 18):
            spoilt = body[:at] + bytes([code]) + body[at:]
            if code in b" !":
                wire.parse_body("chat", spoilt)
            else:
                with pytest.raises(InvalidRequest, match="not valid JSON"):
                    wire.parse_body("chat", spoilt)


def test_many_that_begin_alike_take_no_time() -> None:
    """A search that is led astray again and again is given up."""
    said = json.dumps('"' * 100_000 + "\n").encode()
    alike = json.dumps('"' * 100_000).encode()
    body = b'{"a":[%s],"messages":[{"role":"tool","content":%s}],"model":"m"}' % (
        b",".join([alike] * 20),
        said,
    )
    started = time.process_time()
    wire.parse_body("chat", body)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("pad", [TALE * 40, "x" * 3 * LONG])
def test_what_is_read_whole_stays_whole(pad: str) -> None:
    """A prompt's variable that says the very same as a message."""
    body = {"prompt_variables": {"a": pad}, "messages": [{"role": "user", "content": pad}], "model": "m"}
    parsed = wire.parse_body("chat", json.dumps(body, separators=(",", ":")).encode())
    assert parsed.prompt_variables == {"a": pad}
