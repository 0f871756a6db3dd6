"""What the redactor takes out, and what it leaves alone."""

from __future__ import annotations

import base64
import json
import re
import time
from urllib.parse import quote

import pytest

from airboss.domain.record import ClosedCall, OpenedCall
from airboss.governance.keys import new_key
from airboss.governance.redact import MARK, Redactor

SECRET = "sk-proj-Ab3/x+Yz0_9-QQ=="
ODD = 'pass"word\\with all é😀'


def unicode_escaped(text: str) -> str:
    """The text with every character escaped as JSON may."""
    return "".join(f"\\u{unit:04x}" for unit in units(text))


def units(text: str) -> list[int]:
    """The UTF-16 units of a text."""
    data = text.encode("utf-16-be")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


@pytest.mark.parametrize("secret", [SECRET, ODD], ids=["usual", "odd"])
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda secret: json.dumps({"a": f"x {secret} y"}), id="ascii JSON"),
        pytest.param(lambda secret: json.dumps({"a": secret}, ensure_ascii=False), id="UTF-8 JSON"),
        pytest.param(lambda secret: json.dumps({secret: 1}), id="key of a table"),
        pytest.param(lambda secret: json.dumps({"a": json.dumps({"b": secret})}), id="JSON in JSON"),
        pytest.param(
            lambda secret: json.dumps({"a": json.dumps({"b": json.dumps([secret], ensure_ascii=False)})}),
            id="JSON in JSON in JSON",
        ),
        pytest.param(lambda secret: f'{{"a": "{unicode_escaped(secret)}"}}', id="all escaped"),
        pytest.param(
            lambda secret: f'{{"a": "{unicode_escaped(secret).upper().replace("U", "u")}"}}', id="HEX"
        ),
        pytest.param(
            lambda secret: json.dumps({"a": f'{{"b": "{unicode_escaped(secret)}"}}'}),
            id="escaped in JSON in JSON",
        ),
        pytest.param(lambda secret: json.dumps({"a": secret}).replace("/", "\\/"), id="escaped slashes"),
        pytest.param(lambda secret: json.dumps({"a": f"https://h/?key={quote(secret, safe='')}"}), id="URL"),
        pytest.param(
            lambda secret: json.dumps({"a": re.sub("%..", lambda hit: hit[0].lower(), quote(secret))}),
            id="URL, lower case",
        ),
    ],
)
def test_a_secret_is_found_however_it_is_written(form, secret: str) -> None:
    """Whatever way JSON has to write it, the mark stands in its place and the rest is as it was."""
    before = form(secret)
    after = Redactor([secret]).redact(before.encode())
    assert MARK.encode() in after
    assert_gone(secret, after)
    json.loads(after)


def assert_gone(secret: str, data: bytes) -> None:
    """The secret is not in the text, nor in what the text says, at any depth."""
    assert secret.encode() not in data
    texts = [data.decode()]
    for _ in range(5):
        texts += [text.replace("\\/", "/") for text in texts]
        texts = list({json_unescaped(text) for text in texts} | set(texts))
        assert not [text for text in texts if secret in text]


def json_unescaped(text: str) -> str:
    """The text with one level of escapes undone wherever there are any."""
    out, at = [], 0
    short = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", '"': '"', "\\": "\\"}
    while at < len(text):
        following = text[at + 1 : at + 2]
        if text[at] == "\\" and following in short:
            out.append(short[following])
            at += 2
        elif text[at] == "\\" and following == "u":
            out.append(chr(int(text[at + 2 : at + 6], 16)))
            at += 6
        else:
            out.append(text[at])
            at += 1
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("user", ["", "u", "us", "user", "someone@example.com"])
def test_a_basic_credential_is_found(user: str) -> None:
    """The base64 of `user:secret` does not carry the secret away, whatever the user's length."""
    credential = base64.b64encode(f"{user}:{SECRET}".encode()).decode()
    after = Redactor([SECRET]).redact(json.dumps({"h": f"Authorization: Basic {credential}"}).encode())
    assert MARK.encode() in after
    left = json.loads(after)["h"]
    assert credential not in left
    assert len(left) - len("Authorization: Basic ") - len(MARK) <= len(credential) - len(SECRET)


def test_keys_of_ours_are_known_by_their_shape() -> None:
    """Nobody has to tell the redactor of a key of ours; what is nearly one is left alone."""
    key = new_key()
    after = Redactor().redact(json.dumps({"a": f"<{key}>", "b": key[:-1], "c": "ab_"}).encode())
    assert json.loads(after) == {"a": f"<{MARK}>", "b": key[:-1], "c": "ab_"}
    escaped = f'{{"a": "{unicode_escaped(key)}"}}'
    assert json.loads(Redactor().redact(escaped.encode())) == {"a": MARK}


@pytest.mark.parametrize("secrets", [(SECRET,), ("12345678",), ("null}null}",), (ODD,)])
def test_a_frame_in_pieces_is_redacted_as_a_whole(secrets: tuple[str, ...]) -> None:
    """The secret in the record around a body, in the body, and where none is."""
    redactor = Redactor(secrets)
    for user, body in [("u", {"a": 1}), (secrets[0], {"a": secrets[0], "b": 12345678}), ("null}", [None])]:
        around = {"user": user, "number": 123456789, "request": None}
        text = json.dumps(body).encode()
        pieces = redactor.redact_with(json.dumps(around, separators=(",", ":")).encode(), text)
        whole = redactor.redact(json.dumps(around, separators=(",", ":")).encode()[:-5] + text + b"}")
        assert b"".join(pieces) == whole
        assert json.loads(whole)["number"] == 123456789


def test_of_two_secrets_the_longer_goes_whole() -> None:
    """A secret that begins another does not leave the rest of it behind."""
    redactor = Redactor(["secret-1", "secret-1-and-more"])
    assert json.loads(redactor.redact(b'["secret-1-and-more", "secret-1"]')) == [MARK, MARK]


def test_text_without_a_secret_is_the_same_object() -> None:
    """Nothing is copied, and no byte changes, where there is nothing to hide."""
    data = b'{"n":1.10,"big":12345678901234567890,"e":1E+2,"u":"\\u00e9\\u003c\\/","s":  "x"}'
    assert Redactor([SECRET]).redact(data) is data


def test_numbers_keep_every_digit() -> None:
    """Where a secret is taken out, numbers are left as they were written."""
    data = '{"n":1.10,"big":12345678901234567890.0e-01,"s":"' + SECRET + '"}'
    after = Redactor([SECRET]).redact(data.encode())
    assert after == data.replace(SECRET, MARK).encode()


def test_a_secret_of_digits_is_taken_from_texts_not_from_numbers() -> None:
    """A record stays readable: a number is no text, so it is not taken for a secret."""
    redactor = Redactor(["12345678"])
    after = redactor.redact(b'{"a": 12345678, "b": "my 12345678", "c": [123456789, "\\"12345678"]}')
    assert json.loads(after) == {"a": 12345678, "b": f"my {MARK}", "c": [123456789, f'"{MARK}']}
    assert redactor.redact(b"not JSON 12345678") == f"not JSON {MARK}".encode()


@pytest.mark.parametrize("data", [b"", b"{", b'"\xff\xfe', b'{"a":"\\ud800', b"\x00", b'"\\'])
def test_what_is_not_json_is_redacted_as_it_is(data: bytes) -> None:
    """Broken text is no way around."""
    redactor = Redactor([SECRET])
    assert redactor.redact(data) == data
    # A backslash before the mark goes with the secret: in JSON it would escape the mark.
    before = data.removesuffix(b"\\")
    assert redactor.redact(data + SECRET.encode() + data) == before + MARK.encode() + data


def test_a_match_that_begins_inside_an_escape_leaves_json() -> None:
    r"""`\nsecret` is a line's end and `secret`, but looks like a backslash and `nsecret`."""
    after = Redactor(["nsecret-one"]).redact(b'{"a": "\\nsecret-one", "b": "\\\\nsecret-one"}')
    assert json.loads(after) == {"a": MARK, "b": f"\\{MARK}"}
    key = "ab_" + "x" * 43
    after = Redactor(["00beef00"]).redact(b'{"a": "\\u00%s", "b": "\\u00beef00"}' % key.encode())
    assert json.loads(after) == {"a": MARK, "b": MARK}


def test_short_values_and_our_own_words_are_not_secrets() -> None:
    """A key "test" or "response" would shred every record and hide nothing."""
    data = b'{"test": "test", "response": "text_completion", "deployment": "cancelled"}'
    assert (
        Redactor(["test", "response", "deployment", "cancelled", "text_completion", ""]).redact(data) == data
    )


def test_own_words_are_those_of_the_frames() -> None:
    """The fields of both frames survive any secret that equals one of them."""
    fields = (*OpenedCall.__struct_fields__, *ClosedCall.__struct_fields__)
    data = json.dumps(dict.fromkeys(fields)).encode()
    assert Redactor(fields).redact(data) is data


def test_logs_and_messages_are_redacted_too() -> None:
    """Text is searched like JSON, without having to be any."""
    redactor = Redactor([SECRET, ODD])
    assert redactor.redact_text(f"upstream said: bad key {SECRET}, {new_key()}") == (
        f"upstream said: bad key {MARK}, {MARK}"
    )
    assert redactor.redact_text(ODD) == MARK
    assert redactor.redact_text("nothing \ud800 here") == "nothing \ud800 here"


@pytest.mark.parametrize("more", ["", "'", "'; check its api_key"])
def test_half_of_a_secret_goes_where_a_text_was_cut_off(more: str) -> None:
    """From four characters on, whatever is said after it; what was not cut off stays."""
    own, odd = new_key(), 'sk-"quoted"-0123456789'
    redactor = Redactor([SECRET, odd])
    for secret in (SECRET, own, odd):
        for size in range(4, len(secret)):
            half = f"bad key {secret[:size]}"
            assert redactor.redact_text(f"{half}…{more}") == f"bad key {MARK}…{more}", size
    assert redactor.redact_text(f"bad key {SECRET[:3]}…{more}") == f"bad key {SECRET[:3]}…{more}"
    assert redactor.redact_text(f"{SECRET[:-1]}{more}") == f"{SECRET[:-1]}{more}"


def test_half_of_a_secret_goes_from_a_text_that_was_cut_twice() -> None:
    """What is cut may quote what was cut before."""
    redactor = Redactor([SECRET])
    said = f"it said 'bad key {SECRET[:12]}…' ({SECRET[:9]}…"
    assert redactor.redact_text(said) == f"it said 'bad key {MARK}…' ({MARK}…"


def test_half_of_a_secret_goes_from_the_ends_of_strings_that_broke_off() -> None:
    """From eight characters on, in JSON within JSON too; names of members and other words stay."""
    own, odd = new_key(), 'sk-"quoted"-0123456789'
    redactor = Redactor([SECRET, odd])
    for secret in (SECRET, own, odd):
        for size in range(8, len(secret)):
            half = f"bad key {secret[:size]}"
            said = {"a": half, "b": [json.dumps(half)[:-1]], half: 1, "c": half + " "}
            kept = {"a": f"bad key {MARK}", "b": [f'"bad key {MARK}'], half: 1, "c": half + " "}
            assert json.loads(redactor.without_halves(json.dumps(said).encode())) == kept, size
    for other in (b'"lab_results"', b'"sk-proj"', b'"ab_abcd"', b"1", b'"%s"' % SECRET[1:].encode()):
        assert redactor.without_halves(other) == other


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" + b'"sk-proj-",' * 90_000 + b"1]", id="halves of a secret"),
        pytest.param(b'"' + b"\\" * 1_000_000 + b'\\u0041"', id="backslashes"),
        pytest.param(b'"' + b"\\" * 200_000 + b' \\u0041"', id="backslashes of no escape"),
        pytest.param(b'"' + b"\\u0061" * 200_000 + b'"', id="escapes"),
        pytest.param(b'"' + b"ab_" * 400_000 + b'"', id="beginnings of keys"),
        pytest.param(b'"' + b"sk-proj-" * 125_000 + b'"', id="beginnings of a secret"),
        pytest.param(b'"Basic ' + b"QUJD" * 250_000 + b'"', id="base64"),
        pytest.param(b'["' + b'","'.join([SECRET.encode()] * 40_000) + b'"]', id="secrets"),
        pytest.param(b'"12345678' + b'"' * 1_000_000, id="quotes"),
    ],
)
def test_no_text_takes_long(data: bytes) -> None:
    """A megabyte made to be slow takes well under a second: time grows with length, not with its square."""
    started = time.process_time()
    redactor = Redactor([SECRET, "12345678", new_key()])
    redactor.without_halves(redactor.redact(data))
    assert time.process_time() - started < 1.0


def test_the_parts_of_an_access_key() -> None:
    """Of a key of AWS's neither its secret nor a session's token stays; its id does, which is none."""
    access, secret, token = "AKIAABCDEFGHIJKLMNOP", "wJalrXUtnFEMI/K7MDENG+bPx", "IQoJb3JpZ2luX2VjEXAMPLE"
    redactor = Redactor([f"{access}:{secret}:{token}"])
    said = redactor.redact_text(f"{access} {secret} {token}")
    assert said == f"{access} {MARK} {MARK}"
