"""JSON is screened by its values, and stays JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.governance.findings import PLACES_MAX, Findings
from airboss.governance.screening import ScreeningPolicy, screen_text
from airboss.governance.screening_json import _SECRET_NAME, restore_json, screen_json
from airboss.governance.tokens import Tokens
from tests.governance.detector_samples import PEM, made, samples
from tests.support.policies import one_action

MASK = one_action()
KEY = b"some key"


def screened(raw: bytes, policy: ScreeningPolicy = MASK, tokens: Tokens | None = None) -> bytes:
    """A JSON text after screening."""
    return screen_json(policy, raw, where="here", findings=Findings(policy), tokens=tokens).data


def masked(value: Any) -> Any:
    """A JSON value after screening, through Python's own JSON."""
    return json.loads(screened(json.dumps(value).encode()))


def test_names_numbers_and_arguments() -> None:
    """In a tool's arguments names, numbers and strings are screened, and what is under a secret's name."""
    arguments = {
        "to": "jane@example.com",
        "card": 4111111111111111,
        "password": "hunter22",
        "bob@example.com": 1,
    }
    found = Findings(MASK)
    raw = json.dumps({"calls": [{"function": {"name": "send", "arguments": json.dumps(arguments)}}]})
    data = screen_json(MASK, raw.encode(), where="request", findings=found).data
    called = json.loads(json.loads(data)["calls"][0]["function"]["arguments"])
    assert called == {"to": "[EMAIL]", "card": "[CARD]", "password": "[SECRET]", "[EMAIL]": 1}
    at = "request.calls.function.arguments"
    assert [(f.kind, f.action, f.count, f.where) for f in found.listed()] == [
        ("email", "mask", 1, at),
        ("card", "mask", 1, f"{at}.card"),
        ("secret", "mask", 1, f"{at}.password"),
        ("email", "mask", 1, f"{at}.to"),
    ]


def test_a_name_that_ends_as_a_secrets_does() -> None:
    """However long it is, its value is a secret."""
    assert masked({"api_key=settings.api_key": "tel:+14155552671 ring"}) == {
        "api_key=settings.api_key": "[SECRET] ring"
    }


def test_findings_tell_no_values() -> None:
    """Places are names made of letters; others, which may be data, are not told, and the list is bounded."""
    found = Findings(MASK)
    data = {"jane@example.com": {"x9": {"note": "bob@example.com"}}}
    screen_json(MASK, json.dumps(data).encode(), where="request", findings=found)
    assert [each.where for each in found.listed()] == ["request", "request.*.*.note"]
    many = Findings(MASK)
    names = ["".join(chr(97 + int(digit)) for digit in f"{number:03}") for number in range(300)]
    screen_json(MASK, json.dumps(dict.fromkeys(names, "10.2.3.4")).encode(), where="request", findings=many)
    assert len(many.listed()) == PLACES_MAX + 1
    assert sum(each.count for each in many.listed()) == 300


def test_bytes_that_need_not_change() -> None:
    """Spaces, escapes, the order and spelling of everything but what holds a value stay."""
    raw = b' {"a" :\t"caf\\u00e9 \\/ \\ud83d", "b": [1.50, 1e5],\n "a":"jane@example.com" , "c":"\\u0041"} '
    clean = screened(raw)
    assert clean == raw.replace(b"jane@example.com", b"[EMAIL]")
    assert screened(clean) is clean


@pytest.mark.parametrize(
    "value",
    [
        "jane\\u0040example.com",
        "\\njane@example.com",
        "4111\\u00201111\\u00201111\\u00201111",
        "\\u00e9: jane@example.com",
    ],
)
def test_escapes_hide_nothing(value: str) -> None:
    """A string is screened as the text it stands for."""
    data = screened(f'{{"a": "{value}"}}'.encode())
    assert b"[EMAIL]" in data or b"[CARD]" in data
    json.loads(data)


def test_what_is_under_a_secret_name() -> None:
    """A string under a name such as `password` or `api_key` is a secret if it could be one, as in text."""
    values = {
        "password": "hunter22",
        "apiKey": made(20, 1),
        "DB_PASSWORD": "pa55word",
        "client_secret": made(30, 2),
    }
    assert set(masked(values).values()) == {"[SECRET]"}
    plain = {"password": "required", "max_tokens": "1024", "note": "hunter22", "secret": "your-secret-1"}
    assert masked(plain) == plain


@pytest.mark.parametrize(
    "number",
    ["0.4111111111111111", "-0.4111111111111111", "12.4111111111111111", "123456.4111111111111111",
     "1e-4111111111111111", "-3.4111111111111111e-07", "1234567.4111111111111111", "4111111111111111e1"],
)  # fmt: skip
def test_fractions_are_measures(number: str) -> None:
    """Not cards, whatever their digits: a body with log-probabilities or places was no JSON any more."""
    raw = b'{"x": {"a": %s, "b": [%s]}}' % (number.encode(), number.encode())
    findings = Findings(MASK)
    assert screen_json(MASK, raw, where="here", findings=findings).data is raw
    assert not findings


def test_numbers_beside_the_texts_are_settings() -> None:
    """A number within something may be a value; one of the document's own members is none."""
    assert masked({"seed": 4111111111111111, "a": {"n": [4111111111111111, 4111111111111112]}}) == {
        "seed": 4111111111111111,
        "a": {"n": ["[CARD]", 4111111111111112]},
    }


def test_long_texts_without_spaces_are_no_images() -> None:
    """What looks like base64 is looked into, but under the names of media."""
    text = "4111111111111111/" + made(300, 5)
    assert masked({"content": text, "data": text}) == {
        "content": text.replace("4111111111111111", "[CARD]"),
        "data": text,
    }


def test_images_are_left() -> None:
    """Base64 is passed as it is, and a text that only contains some is not."""
    image = "data:image/png;base64," + made(4_000, 3) + "=="
    body = {"url": image, "data": made(4_000, 4), "text": f"jane@example.com sent {image}"}
    result = masked(body)
    assert (result["url"], result["data"]) == (image, body["data"])
    assert result["text"].startswith("[EMAIL] sent data:")
    named = masked({"url": image.replace("png;", "png;name=jane@example.com;")})
    assert named == {"url": image.replace("png;", "png;name=[EMAIL];")}


@pytest.mark.parametrize("raw", [
    b"", b"jane@example.com", b'{"a":', b'{"a":"jane@example.com"', b"\xff jane@example.com \xfe",
    b"[" * 100_000, b'{"a":"b"} jane@example.com', b'["\xff jane@example.com"]', b'["jane@example.com", nul]',
])  # fmt: skip
def test_what_is_not_json(raw: bytes) -> None:
    """Anything else is screened as text."""
    data = screened(raw)
    assert b"jane" not in data
    assert (b"[EMAIL]" in data) == (b"jane" in raw)


def test_json_within_json_within_json() -> None:
    """Arguments within arguments are screened as JSON to some depth, then as text; never not at all."""
    value: Any = {"mail": "jane@example.com", "n": 4111111111111111}
    for _ in range(7):
        value = {"arguments": json.dumps(value)}
    assert "jane" not in json.dumps(masked(value))


def test_actions() -> None:
    """Tokens are those of text; blocked JSON has no beginning; observed JSON is the same object."""
    raw = json.dumps({"a": "x", "b": "mail jane@example.com", "c": "bob@example.com"}).encode()
    tokens = Tokens(KEY)
    replaced = screened(raw, one_action("tokenize"), tokens)
    assert json.loads(replaced) == {"a": "x", "b": "mail <EMAIL_1>", "c": "<EMAIL_2>"}
    assert restore_json(tokens, replaced) == raw
    found = Findings(one_action("block"))
    blocked = screen_json(one_action("block"), raw, where="here", findings=found)
    assert (blocked.data, blocked.blocked) == (b"", True)
    assert [(each.kind, each.count, each.where) for each in found.listed()] == [("email", 1, "here.b")]
    found = Findings(one_action("observe"))
    observed = screen_json(one_action("observe"), raw, where="here", findings=found)
    assert observed.data is raw
    assert [each.where for each in found.listed()] == ["here.b", "here.c"]
    with pytest.raises(ValueError, match="needs tokens"):
        screened(b'["jane@example.com"]', one_action("tokenize"))


def test_restoring_in_arguments() -> None:
    """A value that needs escapes comes back into JSON within JSON as JSON."""
    tokens = Tokens(KEY)
    key = PEM.format("", made(64, 1), made(20, 2))
    assert screen_text(one_action("tokenize"), key, tokens).text == "<SECRET_1>"
    said = json.dumps({"content": "<SECRET_1> <EMAIL_9>", "arguments": json.dumps({"key": "<SECRET_1>"})})
    back = json.loads(restore_json(tokens, said.encode()))
    assert back["content"] == f"{key} <EMAIL_9>"
    assert json.loads(back["arguments"]) == {"key": key}
    escaped = b'{"content":"\\u003cSECRET_1\\u003e"}'
    assert json.loads(restore_json(tokens, escaped)) == {"content": key}


def test_a_name_with_escapes_is_emptied_too() -> None:
    """Whoever reads the JSON reads the same name."""
    raw = rb'{"a":[{"lo\u0067probs":[{"token":"jane"}]}]}'
    data = screen_json(MASK, raw, where="here", findings=Findings(MASK), emptied=frozenset({"logprobs"})).data
    assert data == rb'{"a":[{"lo\u0067probs":null}]}'


def test_emptied_members() -> None:
    """Members that are to go become null, whatever they hold, wherever they stand; texts so called stay."""
    raw = b'{"a": {"logprobs" : {"x": [1, {"y": "}"}]}, "b": "logprobs"}, "c": [{"logprobs": "s"}]}'
    data = screen_json(MASK, raw, where="here", findings=Findings(MASK), emptied=frozenset({"logprobs"})).data
    assert data == b'{"a": {"logprobs" :null, "b": "logprobs"}, "c": [{"logprobs":null}]}'


LINES = [text for text, _ in samples()]
# What stands under a secret's name is taken as assigned to it, which has a test of its own above.
NAMES = (st.text(max_size=5) | st.sampled_from(LINES)).filter(lambda name: not _SECRET_NAME.search(name))
FRACTIONS = st.floats(allow_nan=False).filter(lambda each: abs(each) < 10**6 or each % 1 != 0)
"""Of long whole numbers some are cards."""
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**6), 10**6), FRACTIONS, st.text(), st.sampled_from(LINES)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES, ascii_only=st.booleans(), wide=st.booleans())
def test_any_json(value: Any, ascii_only: bool, wide: bool) -> None:
    """Each string becomes what its text does, whatever else is in the document and however it is written."""

    def expected(part: Any) -> Any:
        if isinstance(part, str):
            return screen_text(MASK, part).text
        if isinstance(part, list):
            return [expected(one) for one in part]
        if isinstance(part, dict):
            return {screen_text(MASK, name).text: expected(one) for name, one in part.items()}
        return part

    text = json.dumps(value, ensure_ascii=ascii_only, indent=2 if wide else None)
    raw = text.encode("utf-8", "surrogatepass")
    found = Findings(MASK)
    data = screen_json(MASK, raw, where="here", findings=found).data
    assert json.loads(data.decode("utf-8", "surrogatepass")) == expected(value)
    assert (data is raw) == (not found)


def test_what_is_spared_is_one_text() -> None:
    """An identifier is left as it is; a list or an object in its place is read, its names too."""
    mail = "jane@example.com"
    raw = json.dumps({
        "user": mail, "id": [mail, {"a": [1], mail: mail}], "metadata": {"user": {mail: [[mail]]}, "x": mail},
        "list": [{"user": mail}, [], {"id": mail, "last": mail}],
    })  # fmt: skip
    spared = frozenset({("user",), ("id",), ("metadata", "user"), ("list", "user"), ("list", "id")})
    data = screen_json(MASK, raw.encode(), where="request", findings=Findings(MASK), spared=spared).data
    assert json.loads(data) == {
        "user": mail, "id": ["[EMAIL]", {"a": [1], "[EMAIL]": "[EMAIL]"}],
        "metadata": {"user": {"[EMAIL]": [["[EMAIL]"]]}, "x": "[EMAIL]"},
        "list": [{"user": mail}, [], {"id": mail, "last": "[EMAIL]"}],
    }  # fmt: skip
