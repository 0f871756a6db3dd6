"""What detectors find and what they leave alone."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberFormat, example_number, format_number
from stdnum import iban, luhn, numdb

from airboss.governance.candidates import LEFT
from airboss.governance.detectors import DETECTORS
from airboss.governance.policies import KINDS
from airboss.governance.screening import HELD_MAX, Screen, screen_text
from tests.governance.detector_samples import NOTHING, made, samples
from tests.governance.whole import Whole
from tests.support.policies import one_action

# Known to be wrong: a part number that could as well be a German phone number, and Python's `x@self.weight`.
PRECISION = dict.fromkeys(map(str, KINDS), 1.0) | {"phone": 0.97, "email": 0.95}


@cache
def scores() -> dict[str, dict[str, float]]:
    """Recall and precision per kind on the samples: a value counts if a find of its kind covers all of it, a
    find counts if a value of its kind is in it; what is found within another value changes nothing.
    """
    marked, covered, found, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for text, values in samples():
        finds = Whole(text).values
        for kind, start, end in values:
            marked[kind] += 1
            covered[kind] += any(kind == k and s <= start and end <= e for k, s, e in finds)
        for kind, start, end in finds:
            if any(k != kind and s <= start and end <= e for k, s, e in values):
                continue
            found[kind] += 1
            right[kind] += any(k == kind and s < end and start < e for k, s, e in values)
    return {
        kind: {
            "values": marked[kind],
            "recall": covered[kind] / marked[kind],
            "precision": right[kind] / found[kind],
        }
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_samples(kind: str) -> None:
    """Every marked value is found whole, and hardly anything else is."""
    score = scores()[kind]
    assert score["values"] >= 6
    assert score["recall"] == 1.0, score
    assert score["precision"] >= PRECISION[kind], score


def test_values_are_replaced_exactly() -> None:
    """What stands around a value stays: the masked sample is its text with the marks replaced."""
    for text, values in samples():
        if {"phone", "email"} & {kind for kind, *_ in Whole(text).values} and not values:
            continue  # the known mistakes
        expected, done = "", 0
        for kind, start, end in values:
            expected += f"{text[done:start]}[{kind.upper()}]"
            done = end
        assert screen_text(one_action(), text).text == expected + text[done:]


@pytest.mark.parametrize("text", [line for line in NOTHING.strip().split("\n") if "self.w" not in line])
def test_numbers_and_names_of_other_things(text: str) -> None:
    """Orders, versions, dates, ids, prices, code and prose about secrets hold no value."""
    assert [value for value in Whole(text).values if "0445" not in text[slice(*value[1:])]] == []


def test_every_countrys_phone_numbers() -> None:
    """The example number of every country is found in its international form, whole."""
    missed = []
    for region in sorted({region for regions in COUNTRY_CODE_TO_REGION_CODE.values() for region in regions}):
        number = example_number(region)
        if number is None:
            continue
        for form in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164):
            written = format_number(number, form)
            if screen_text(one_action(), f"Call {written}, please").text != "Call [PHONE], please":
                missed.append(written)
    assert missed == []


def test_every_countrys_ibans() -> None:
    """An account of every country that has IBANs is found, in one piece and in groups of four."""
    fills = {"n": "1", "a": "A", "c": "2"}
    for _, country, _, properties, _ in numdb.get("iban").prefixes:
        parts = re.findall(r"(\d+)!([nac])", properties["bban"])
        bban = "".join(fills[kind] * int(width) for width, kind in parts)
        number = country + iban.calc_check_digits(country + "00" + bban) + bban
        assert iban.is_valid(number, check_country=False), number
        for written in (number, iban.format(number), number.lower()):
            assert screen_text(one_action(), f"to {written}, now").text == "to [IBAN], now"


@pytest.mark.parametrize(
    ("issuer", "length"),
    [("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15),
     ("37", 15),
     ("6011", 16), ("644", 16), ("65", 16), ("300", 14), ("36", 14), ("38", 14), ("3528", 16), ("3589", 16),
     ("62", 16), ("62", 19), ("50", 16), ("2200", 16), ("508", 16), ("81", 16)],
)  # fmt: skip
def test_every_issuers_cards(issuer: str, length: int) -> None:
    """A card of every network is found, and no longer when a digit is wrong."""
    number = issuer.ljust(length - 1, "7")
    number += luhn.calc_check_digit(number)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert screen_text(one_action(), f"card {number}.").text == "card [CARD]."
    assert screen_text(one_action(), f"card {wrong}.").text == f"card {wrong}."


def test_a_kind_not_asked_for_is_left() -> None:
    """A policy's kinds are found and no others."""
    text = "jane@example.com 10.2.3.4 4111111111111111"
    assert screen_text(one_action(kinds=("ip",)), text).text == "jane@example.com [IP] 4111111111111111"
    assert screen_text(one_action(kinds=()), text).text == text
    screen = Screen(one_action(kinds=()))
    assert screen.feed(text) + screen.finish() == text


def test_no_invisible_character_hides_a_value() -> None:
    """Joiners, soft hyphens, direction marks, accents, full-width letters in a value change nothing."""
    for hidden in (
        "\u200b",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\u00ad",
        "\u202e",
        "\ufe0f",
        "\u0301",
        "\u200b" * 8,
    ):
        for value, mask in (("4111111111111111", "[CARD]"), ("jane@example.com", "[EMAIL]")):
            for text in (hidden.join(value), value[:5] + hidden + value[5:]):
                assert screen_text(one_action(), f"a {text} b").text == f"a {mask} b"
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "jane@example.com")
    assert screen_text(one_action(), f"a {wide} b").text == "a [EMAIL] b"
    assert screen_text(one_action(), "٤١١١١١١١١١١١١١١١").text == "[CARD]"


def test_more_invisible_characters_than_are_overlooked() -> None:
    """Nine in a row do hide a value: what a character of text stands for must be bounded."""
    text = "4111" + "\u200b" * 9 + "111111111111"
    assert screen_text(one_action(), text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "id4111111111111111", "4111\n1111\n1111\n1111", "jane at example dot com", "jane&#64;example.com",
        '"jane doe"@example.com', "jane@[10.1.1.1x]",
        "612 345 678", "13812345678", "411111 1111111111", "536221874",
        "912-70-1234", "127.0.0.1", "::1", "version 10.2.3.4", "password=letmein", 'password: "two words"',
        "amFuZUBleGFtcGxlLmNvbQ==", made(40, 9),
    ],
)  # fmt: skip
def test_known_to_be_missed(text: str) -> None:
    """What the module says it misses, it misses: a change of this is to be told there."""
    assert screen_text(one_action(), f"see {text} here").findings == {}


def test_declared_needs() -> None:
    """No detector asks for more context than is kept, and the longest says what is held."""
    assert all(detector.left <= LEFT for detector in DETECTORS)
    assert max(detector.longest for detector in DETECTORS) <= HELD_MAX <= 512
    assert {detector.kind for detector in DETECTORS} == set(KINDS)
    assert len({detector.name for detector in DETECTORS}) == len(DETECTORS)
