"""What the four actions do to a text, and how a Screen is used."""

from __future__ import annotations

import re
import string

import pytest

from airboss.governance.policies import KINDS
from airboss.governance.screening import (
    HELD_MAX,
    Action,
    Screen,
    ScreeningPolicy,
    screen_text,
    screening_policy,
)
from airboss.governance.tokens import Tokens
from tests.governance.detector_samples import PEM, made, samples
from tests.support.policies import one_action

KEY = b"a key that no one else has"
TEXT = "Mail jane@example.com or call +1 415 555 2671, card 4111 1111 1111 1111; jane@example.com again."


def policy(action: Action) -> ScreeningPolicy:
    """Every kind, and what to do."""
    return one_action(action)


def test_mask() -> None:
    """Masking puts the kind in a value's place and leaves the rest."""
    screened = screen_text(policy("mask"), TEXT)
    assert screened.text == "Mail [EMAIL] or call [PHONE], card [CARD]; [EMAIL] again."
    assert screened.findings == {"email": 2, "phone": 1, "card": 1}
    assert not screened.blocked


def test_tokens_say_the_same_for_the_same_value() -> None:
    """A token depends on the kind and the value; not on how the value is written. They are numbered."""
    text = (
        "jane@example.com JANE@EXAMPLE.COM 4111111111111111 4111-1111-1111-1111 bob@example.com +14155552671"
        " (415) 555-2671"
    )
    tokens = Tokens(KEY)
    masked = screen_text(policy("tokenize"), text, tokens).text
    assert masked == "<EMAIL_1> <EMAIL_1> <CARD_1> <CARD_1> <EMAIL_2> <PHONE_1> <PHONE_1>"
    assert tokens.originals == {
        "<EMAIL_1>": "jane@example.com",
        "<CARD_1>": "4111111111111111",
        "<EMAIL_2>": "bob@example.com",
        "<PHONE_1>": "+14155552671",
    }
    assert tokens.restored(f"a {masked} <EMAIL_3>") == (
        "a jane@example.com jane@example.com 4111111111111111 4111111111111111 bob@example.com +14155552671"
        " +14155552671 <EMAIL_3>"
    )


def test_a_value_that_only_the_answer_has_gets_letters() -> None:
    """They depend on the value and the call's key, so that several texts need not agree on numbers."""
    names = []
    for key in (KEY, KEY, b"another"):
        tokens = Tokens(key)
        screen_text(policy("tokenize"), "jane@example.com", tokens)
        tokens.seal()
        names.append(screen_text(policy("tokenize"), "bob@example.com jane@example.com", tokens).text.split())
    assert names[0] == names[1]
    assert names[0][0] != names[2][0]
    assert re.fullmatch(r"<EMAIL_[a-p]{6}>", names[0][0])
    assert [last for _, last in names] == ["<EMAIL_1>"] * 3


def test_numbers_that_are_written_are_not_given_out() -> None:
    """A placeholder of an earlier turn must not come to mean another value."""
    tokens = Tokens(KEY, b"I told <EMAIL_7>")
    assert screen_text(policy("tokenize"), "jane@example.com", tokens).text == "<EMAIL_8>"


def test_a_token_of_a_value_that_grows() -> None:
    """A long key's token is the same alone, in an assignment, and however it was cut; it is kept whole."""
    key = f"sk-proj-{made(3000, 5)}"
    tokens = Tokens(KEY)
    assert screen_text(policy("tokenize"), f"{key} ", tokens).text == "<SECRET_1> "
    assert tokens.originals == {"<SECRET_1>": key}
    screen = Screen(policy("tokenize"), tokens)
    assert "".join(map(screen.feed, f"api_key={key} ")) + screen.finish() == "api_key=<SECRET_1> "
    assert screen_text(policy("tokenize"), f"{key}x ", tokens).text == "<SECRET_2> "


def test_tokens_together_stand_for_all_that_was_replaced() -> None:
    """Of values that overlap each token stands for its own part, so that restoring gives the text again."""
    for text, _ in samples():
        tokens = Tokens(KEY)
        replaced = screen_text(policy("tokenize"), text, tokens).text
        back = tokens.restored(replaced)
        for _ in range(2):  # another spelling of a value comes back as the first
            assert screen_text(one_action("mask"), back).text == screen_text(one_action("mask"), text).text
        if len(tokens.originals) == len(re.findall(r"<[A-Z_]+_\d+>", replaced)):
            assert back == text


def test_tokenize_wants_tokens() -> None:
    """There is no default: the tokens are the call's."""
    with pytest.raises(ValueError, match="needs tokens"):
        Screen(policy("tokenize"))


def test_each_kind_may_have_its_own_action() -> None:
    """What is only observed stays and is counted, beside what is masked and what blocks."""
    mixed = screening_policy({"email": "mask", "ip": "observe", "card": "block"})
    text = "jane@example.com at 10.2.3.4 called +1 415 555 2671"
    screened = screen_text(mixed, text)
    assert screened.text == "[EMAIL] at 10.2.3.4 called +1 415 555 2671"
    assert screened.findings == {"email": 1, "ip": 1}
    blocked = screen_text(mixed, text + ", card 4111111111111111, 10.2.3.5")
    assert blocked.blocked
    assert blocked.text == "[EMAIL] at 10.2.3.4 called +1 415 555 2671, card "
    assert blocked.findings == {"email": 1, "card": 1}


def test_block() -> None:
    """Blocking lets through what stands before the first value, and nothing any more."""
    screen = Screen(policy("block"))
    released = "".join(map(screen.feed, TEXT))
    assert (released, screen.finish()) == ("Mail ", "")
    assert screen.blocked
    assert screen.findings == {"email": 1}
    assert screen_text(policy("block"), TEXT).text == "Mail "
    clean = screen_text(policy("block"), "nothing here")
    assert (clean.text, clean.blocked) == ("nothing here", False)


def test_observe() -> None:
    """Observing returns each piece as it is, at once, and counts what masking would have replaced."""
    screen = Screen(policy("observe"))
    for piece in (TEXT[:9], TEXT[9:10], TEXT[10:]):
        assert screen.feed(piece) == piece
    assert screen.finish() == ""
    assert screen.findings == screen_text(policy("mask"), TEXT).findings
    assert not screen.blocked
    for text, _ in samples():
        observed, masked = screen_text(policy("observe"), text), screen_text(policy("mask"), text)
        assert (observed.text, observed.findings) == (text, masked.findings)


def test_findings_hold_no_value() -> None:
    """Findings are kinds, in the order of KINDS, and how many."""
    screened = screen_text(policy("mask"), "4111111111111111 10.2.3.4 jane@example.com")
    assert list(screened.findings.items()) == [("email", 1), ("card", 1), ("ip", 1)]


def test_a_value_waits_for_its_end_and_prose_does_not() -> None:
    """Words go out as they end; a value goes out replaced once nothing can prolong it."""
    screen = Screen(policy("mask"))
    assert screen.feed("The report says ") == "The report says "
    assert screen.feed("that jane@exam") == "that "
    assert screen.held == len("jane@exam")
    assert screen.feed("ple.co") == ""
    assert screen.feed("m, and") == "[EMAIL], "
    assert screen.finish() == "and"
    assert screen.held == 0


def test_a_key_is_replaced_before_it_ends() -> None:
    """A private key is dropped as it comes, not kept until its last line."""
    screen = Screen(policy("mask"))
    body = "\n".join(made(64, seed) for seed in range(40))
    text = "key:\n" + PEM.format("RSA ", body, "end=") + "\nthanks"
    released, held = "", 0
    for letter in text:
        released += screen.feed(letter)
        held = max(held, screen.held)
    assert released + screen.finish() == "key:\n[SECRET]\nthanks"
    assert held <= HELD_MAX < len(body)


def test_a_private_key_without_an_end() -> None:
    """Text behind it is lost up to a backtick or 16,384 characters, rather than a key let out."""
    begun = "-----BEGIN PRIVATE KEY-----\n" + made(64, 1)
    assert screen_text(policy("mask"), begun + "\ntext ```\nafter").text == "[SECRET]```\nafter"
    screened = screen_text(policy("mask"), begun + " z" * 10_000)
    assert screened.text == "[SECRET]" + (begun + " z" * 10_000)[16_384:]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://bob:s3cret@db.example.com/x", "https://bob:[SECRET]@db.example.com/x"),
        ("https://bob@corp.example:s3cret@db.example.com", "https://[EMAIL]:[SECRET]@db.example.com"),
        ("jane@example.com,bob@example.com", "[EMAIL],[EMAIL]"),
        ("jane@example.com:10.2.3.4", "[EMAIL]:[IP]"),
        ("4111111111111111@example.com", "[CARD][EMAIL]"),
        ("password=jane@example.com1", "password=[SECRET]"),
        ("Bearer sk-" + made(40, 3), "Bearer [SECRET]"),
        ("[EMAIL] <EMAIL_1> <EMAIL_abcdef> <SECRET_2>", None),
        ("password=[SECRET] token: <SECRET_12> api_key=<SECRET_abcdef>", None),
    ],
)
def test_values_that_meet(text: str, masked: str | None) -> None:
    """Values within, beside and across each other are covered whole; placeholders are no values."""
    assert screen_text(policy("mask"), text).text == (masked or text)


def test_tokens_are_no_values() -> None:
    """Screening what was screened changes nothing more, as every turn of a chat does with those before."""
    for text, _ in samples():
        tokens = Tokens(KEY)
        once = screen_text(policy("tokenize"), text, tokens).text
        assert screen_text(policy("tokenize"), once, tokens).text == once
        tokens.seal()
        lettered = screen_text(policy("tokenize"), text + " bob@example.com", Tokens(KEY)).text
        assert screen_text(policy("tokenize"), lettered, tokens).text == lettered


def test_after_the_end() -> None:
    """A finished screen gives nothing more and takes nothing more."""
    screen = Screen(policy("mask"))
    assert screen.feed("jane") == ""
    assert screen.finish() == "jane"
    assert screen.finish() == ""
    with pytest.raises(ValueError, match="make another"):
        screen.feed("x")


def test_nothing_of_a_text_is_lost() -> None:
    """Text without values comes out as it went in, whatever characters it has."""
    text = (
        string.printable
        + "".join(map(chr, range(0x80, 0x3000, 7)))
        + "\ud83d \udc00 \x00 \U0001f469\u200d\U0001f467"
    )
    screened = screen_text(one_action(kinds=KINDS), text)
    assert screened.findings == {}
    assert screened.text == text
