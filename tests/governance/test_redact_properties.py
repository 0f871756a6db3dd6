"""Facts about redaction that hold for any secret and any text."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airboss.governance import redact
from airboss.governance.redact import _OWN_WORDS, MARK, MIN_SECRET, Redactor
from tests.governance.test_redact import assert_gone

LONG = 16 * 1024

characters = st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f")
secrets = st.text(characters, min_size=MIN_SECRET, max_size=24) | st.text(
    st.sampled_from('abn/"\\u0061'), min_size=MIN_SECRET, max_size=12
)
usual_secrets = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789_-./+=", min_size=MIN_SECRET, max_size=24)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def written(draw: Callable[[st.SearchStrategy[Any]], Any], secret: str) -> str:
    """A secret as the content of a JSON string, each character in one of the ways that JSON has for it."""
    parts = []
    for character in secret:
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        escaped = json.dumps(character)[1:-1] if ord(character) > 126 else f"\\u{ord(character):04x}"
        ways = [plain, escaped, escaped.upper().replace("\\U", "\\u")]
        if character == "/":
            ways.append("\\/")
        parts.append(draw(st.sampled_from(ways)))
    return "".join(parts)


@given(st.data(), secrets, values)
def test_no_way_of_escaping_saves_a_secret(data: st.DataObject, secret: str, around: Any) -> None:
    """However JSON writes it, the secret is gone and the text is still JSON."""
    assume(secret not in _OWN_WORDS)
    body = json.dumps({"around": around}, ensure_ascii=data.draw(st.booleans()))
    text = f'{{"a": "x{data.draw(written(secret))}y", "b": {body}}}'
    after = Redactor([secret]).redact(text.encode("utf-8", "surrogatepass"))
    said = json.loads(after)
    assert secret not in said["a"]
    assert MARK in said["a"]


def redacted_slowly(secrets: list[str], data: bytes) -> bytes:
    """As where there is no quick search: every text is looked through for each secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact, "BytesAhoCorasick", None)
        return Redactor(secrets).redact(data)


hints = [
    "ab_",
    "b_",
    "asic ",
    "Basic ",
    "\\",
    "\\/",
    "\\u00",
    "\\u0061",
    "\\\\u0062",
    "ab_" + "k" * 43,
    "a",
    "é",
    '"',
]


under_hints = st.sampled_from(
    ["b_secret-1", "_secret-12", "sic secret", " secret-123", "u0061secret", "ab_secret-1"]
)


@given(
    st.data(), st.lists(secrets | usual_secrets | under_hints, max_size=30), st.sampled_from([1, 8, 65_536])
)
def test_the_quick_search_misses_nothing(data: st.DataObject, among: list[str], piece_bytes: int) -> None:
    """One search for all that may be or hide a secret leads to the same as a search for each, be they side by
    side, one over another, or all but there, and wherever a long text is cut."""
    pieces = hints + among + ["a" + each for each in among] + ["ba" + each for each in among]
    pieces += [each[cut:] for each in among for cut in (1, 2)] + [each[:-1] for each in among]
    pieces += ["Basic " + base64.b64encode(f"u:{each}".encode()).decode() for each in among]
    pieces += [f"\\u{ord(each[0]) & 0xFFFF:04x}{each[1:]}" for each in among]
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=8))).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact, "PIECE_BYTES", piece_bytes)
        found = Redactor(among).redact(text)
    assert found == redacted_slowly(among, text)


@pytest.mark.parametrize("hint", [b"ab_", b"asic ", rb"\u0061", rb"\/"])
def test_what_only_looks_like_secrets_takes_no_memory(hint: bytes) -> None:
    """However much of it a client sends: no list is made of all of it."""
    text = b'"%s"' % (hint * (8_000_000 // len(hint)))
    redactor = Redactor(["a/secret-with-a-slash"])
    tracemalloc.start()
    try:
        assert redactor._known._is_clean(text) is False
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(text)


@given(usual_secrets, st.integers(0, LONG), st.sampled_from(["x", "x-_ ", "_", "\\"]))
def test_no_length_saves_a_secret(secret: str, at: int, filler: str) -> None:
    """A secret anywhere in a long text is gone, and so is a key of ours and a Basic credential."""
    assume(secret not in _OWN_WORDS)
    pad = (filler * LONG)[:LONG]
    own = "ab_" + "k" * 43
    basic = base64.b64encode(f"user:{secret}".encode()).decode()
    for found in (secret, own, f"Basic {basic}"):
        text = json.dumps({"a": pad[:at] + " " + found + " " + pad[at:]}, separators=(",", ":"))
        after = Redactor([secret]).redact(text.encode())
        assert MARK.encode() in after
        assert json.loads(after)["a"].count(found.removeprefix("Basic ")) == 0


@given(st.data(), usual_secrets, st.integers(1, 3))
def test_no_depth_of_json_saves_a_secret(data: st.DataObject, secret: str, depth: int) -> None:
    """JSON in a string of JSON, as tool calls have it, hides nothing."""
    assume(secret not in _OWN_WORDS)
    text = f'"{data.draw(written(secret))}"'
    for _ in range(depth):
        text = json.dumps([text])
    after = Redactor([secret]).redact(text.encode())
    assert_gone(secret, after)
    json.loads(after)


@given(st.lists(secrets, max_size=3), values, st.booleans())
def test_text_without_a_secret_is_unchanged(known: list[str], value: Any, ascii_only: bool) -> None:
    """Byte for byte, for every way of writing it."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    inner = text.replace("\\/", "/")
    for _ in range(3):
        assume(not any(secret in inner for secret in known))
        inner = json.dumps(inner, ensure_ascii=False)
    assume(not any(secret in leaf for secret in known for leaf in leaves(value)))
    data = text.encode("utf-8", "surrogatepass")
    assert Redactor(known).redact(data) == data


def leaves(value: Any) -> list[str]:
    """Every text of a value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in (key, *leaves(item))]
    return []


@given(
    st.lists(secrets, min_size=1, max_size=3), st.lists(st.integers(0, 2) | st.text(max_size=5), max_size=6)
)
def test_valid_json_stays_valid_and_its_numbers_stay(known: list[str], pieces: list[int | str]) -> None:
    """Whatever the secrets are made of, and wherever in a text they stand."""
    text = "".join(known[piece % len(known)] if isinstance(piece, int) else piece for piece in pieces)
    value = {"a": text, "n": 12345678.5, "b": [text, {text: 1e300}]}
    after = json.loads(Redactor(known).redact(json.dumps(value).encode()))
    assert after["n"] == 12345678.5
    assert not [secret for secret in known if secret in after["a"] and secret not in _OWN_WORDS]


@given(st.binary(max_size=60), usual_secrets, st.binary(max_size=60))
def test_bytes_that_are_not_json_hide_nothing(before: bytes, secret: str, after: bytes) -> None:
    """Garbage around a secret does not save it. Some is none: 1 before eight zeros is a number of JSON."""
    whole = before + secret.encode() + after
    assume(secret not in _OWN_WORDS and not is_json(whole))
    assert secret.encode() not in Redactor([secret]).redact(whole)


def is_json(data: bytes) -> bool:
    """Whether it is, and its numbers therefore stay."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


@given(secrets, st.text(max_size=20), st.text(max_size=20))
def test_text_for_people_hides_nothing(secret: str, before: str, after: str) -> None:
    """Log lines and messages lose a secret, whatever stands around it."""
    assume(secret not in _OWN_WORDS)
    assert secret not in Redactor([secret]).redact_text(before + secret + after)
