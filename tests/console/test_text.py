"""How values and texts read."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.console import text
from airboss.console.text import NB, NO_DATA
from tests.console.site import NOW

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
def test_visible_text_is_inert(value: str) -> None:
    """No markup, no control, no reordering survives; everything else does, in order."""
    shown = str(text.visible(value))
    assert not text.DECEPTIVE.search(shown)
    without_marks = re.sub(r'<span class="ctl">U\+[0-9A-F]{4,6}</span>', "", shown)
    assert "<" not in without_marks
    assert ">" not in without_marks
    assert html.unescape(without_marks) == text.DECEPTIVE.sub("", value.replace("\r\n", "\n"))
    shown.encode()


@given(ANY_TEXT)
def test_prose_marks_only_what_cannot_mislead(value: str) -> None:
    """Bold and code are all the markup that a text can bring about."""
    tags = set(re.findall(r"<[^>]*>", str(text.prose(value))))
    assert tags <= {"<code>", "</code>", "<strong>", "</strong>", '<span class="ctl">', "</span>"}


def test_what_is_cut_off_shows_it() -> None:
    """An ellipsis stands for the rest, without the blank or hyphen before it; what fits stays whole."""
    assert text.begun("customer-orders-and-returns", 17) == "customer-orders…"
    assert text.begun("customer-orders", 15) == "customer-orders"
    assert text.begun("a<b" * 9, 5) == "a&lt;ba…"


def test_prose_shows_marks() -> None:
    """`code` and **bold** are shown as such, their content escaped."""
    assert text.prose("a `<b>` **c & d** e") == "a <code>&lt;b&gt;</code> <strong>c &amp; d</strong> e"
    assert text.prose("`` ** ** 2**3") == "`` ** ** 2**3"


@given(
    st.recursive(
        ANY_TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)
    )
)
def test_escaped_json_is_the_same_value(value: object) -> None:
    """Escaping deceptive characters changes what JSON looks like, not what it says."""
    shown = text.escaped_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not text.DECEPTIVE.search(shown)


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (0, "0"),
        (7, "7"),
        (0.25, "0.2"),
        (99_999, "99,999"),
        (148_211, f"148{NB}k"),
        (1_234_567, f"1.2{NB}M"),
        (9.96e6, f"10{NB}M"),
        (3e9, f"3.0{NB}G"),
    ],
)
def test_short_numbers(value: float, short: str) -> None:
    """Whole numbers in full while they fit, then in k, M, G."""
    assert text.short(value) == short


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.421, "0.42 ms"),
        (9.96, "10.0 ms"),
        (812.4, "812 ms"),
        (999.7, "1.00 s"),
        (1_843, "1.84 s"),
        (12_430, "12.4 s"),
        (59_960, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_400, "59 min 59 s"),
        (3_599_600, "1 h 00 min"),
        (18_000_000, "5 h 00 min"),
        (359_999_000, "100 h 00 min"),
    ],
)
def test_durations(value: float, words: str) -> None:
    """Durations keep about three signs, and carry to the next unit rather than show 60 s."""
    assert text.milliseconds(value) == words.replace(" ", NB)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "$0"),
        (Decimal("0.0000123"), "$0.000012"),
        (0.0421, "$0.042"),
        (0.1, "$0.10"),
        (1_234.5, "$1,234.50"),
        (1e-12, "$0.000000000"),
    ],
)
def test_money(value: float | Decimal, words: str) -> None:
    """Cents from ten cents up, two significant digits below."""
    assert text.usd(value) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 10, "0 %"),
        (1, 100_000, "< 0.01 %"),
        (21, 10_000, "0.21 %"),
        (1, 8, "12.5 %"),
        (9_999, 10_000, "100 %"),
        (8, 8, "100 %"),
    ],
)
def test_shares(part: float, whole: float, words: str) -> None:
    """A share that is not nothing never reads as zero."""
    assert text.percent(part, whole) == words.replace(" ", NB)


def test_no_data_is_said() -> None:
    """What was not measured is neither zero nor blank."""
    for said in (
        text.count(None),
        text.short(None),
        text.milliseconds(None),
        text.usd(None),
        text.size(None),
        text.age(None),
        text.percent(0, 0),
    ):
        assert said is NO_DATA
    assert "no data" in NO_DATA


def test_sizes_and_ages() -> None:
    """One unit, chosen by size."""
    assert text.size(812) == f"812{NB}B"
    assert text.size(1_500_000) == f"1.4{NB}MiB"
    assert text.size(5 * 1024**4) == f"5.0{NB}TiB"
    assert text.age(timedelta(seconds=-3)) == f"0{NB}s"
    assert text.age(timedelta(hours=30)) == f"1{NB}d"
    assert text.tick(0) == "0"
    assert text.tick(2_500) == f"2.5{NB}s"


def test_times_are_local_and_no_longer_than_needed() -> None:
    """Today's times have no day, this year's no year."""
    berlin = ZoneInfo("Europe/Berlin")
    assert text.moment(NOW, berlin, now=NOW) == "15:41:20"
    assert text.moment(NOW - timedelta(days=2), berlin, now=NOW, millis=True) == "22 Nov 15:41:20.000"
    assert text.moment(datetime(2025, 1, 1, tzinfo=UTC), UTC, now=NOW) == "1 Jan 2025 00:00:00"


def test_a_hue_is_stable() -> None:
    """One digest, one hue; a name that is no digest has one too."""
    assert text.hue("9f3a" * 16) == text.hue("9f3a" * 16)
    assert 0 <= text.hue("not a digest \ud800") < text.HUES
    assert len({text.hue(f"{n:08x}") for n in range(200)}) == text.HUES


@pytest.mark.parametrize(
    ("value", "words"), [(0.421, "0.42"), (0.999, "1.0"), (8.14, "8.1"), (9.97, "10"), (1_842.4, "1,842")]
)
def test_milliseconds_in_columns(value: float, words: str) -> None:
    """A column of milliseconds keeps what is under ten of them."""
    assert text.in_ms(value) == words
    assert text.in_ms(None) is NO_DATA
