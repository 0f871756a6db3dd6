"""Kinds that a policy defines itself: what is taken, and what is refused with its line and what to write."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from airboss.config import parse_config
from airboss.config.checks_policy import CHARS_MAX, KINDS_MAX, WORDS_MAX
from airboss.config.patterns import MATCH_MAX, STEPS_MAX, PatternError, measures, read_pattern
from airboss.domain.errors import ConfigError

HEAD = "[policies.p]\npii = { action = 'mask' }\n"


def refused(text: str) -> str:
    """Why a configuration is."""
    with pytest.raises(ConfigError) as error:
        parse_config(text, source="a.toml")
    return str(error.value)


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"),
    [
        (r"EMP-[0-9]{6}", 10, 10),
        (r"\bMRN[ -]?\d{7,10}\b", 10, 14),
        (r"(?i)cust(?:omer|\.)?-[a-f0-9]{4,8}", 9, 17),
        (r"(ab|cde){2}f?", 4, 7),
        (r"[[:upper:]]{3}[^]\w]{1,2}[]\]^-]", 5, 6),
        (r"a(?i:b|c)\B\d\.\$", 5, 5),
        (r"{x}{2", 5, 5),
        (r"(?:x{0}y){2}", 2, 2),
        (r".{0,6}@corp", 5, 11),
        (r"a.{255}", 256, 256),
    ],
)
def test_what_is_taken(pattern: str, shortest: int, longest: int) -> None:
    """Patterns with a bound, and how long their matches are."""
    found = measures(read_pattern(pattern))
    assert (found.shortest, found.longest) == (shortest, longest)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "it is empty"),
        (
            "EMP-[0-9]+",
            "'+' has no end, and how much of a stream is held back must have one; say how many: '{1,20}'",
        ),
        ("EMP.*", "'*' has no end"),
        (
            "E{2,}",
            "'{2,}' has no end, and how much of a stream is held back must have one; say how many: '{2,20}'",
        ),
        ("E{1001}", "RE2 says 'invalid repetition size: {1001}'"),
        ("a.{256}", "it may match 257 characters, and a stream holds back 256"),
        ("(?:(?:[a-z]{0,16} ){16}){2}", "it may match 544 characters"),
        ("[a-z]", "it matches a single character"),
        ("x?", "it matches nothing at all"),
        ("ab|", "it matches nothing at all"),
        (r"\b", "it matches nothing at all"),
        (".", "it matches a single character"),
        (".{8}", "it matches whatever there is, 'zzz…', '000…', '   …', '...…' too"),
        (r"(?:\w|\W){3}", "it matches whatever there is"),
        ("[^,]{2,9}", "it matches whatever there is"),
        (r"(?=secret)\w{6}", "RE2 says 'invalid perl operator: (?='"),
        (r"(?<=id )\d{6}", "it does not look around a match"),
        (r"(?<!id )\d{6}", "it does not look around a match"),
        (r"(a|b)x\1", "it does not refer back to what was matched"),
        (r"(ab", "RE2 says 'missing ): (ab'; its syntax"),
        (r"[z-a]{4}", "RE2 says 'invalid character class range: z-a'"),
        (r"ab**", "RE2 says 'bad repetition operator: **'"),
        (r"\y\y", r"RE2 says 'invalid escape sequence: \\y'"),
        (r"^EMP", r"'^' stands for the edge of a text, which comes in pieces; \b is the edge of a word"),
        (r"\AEMP", r"'\\A' is not taken here"),
        (r"EMP$", "'$' stands for the edge of a text"),
        (r"\p{Greek}{4}", r"'\\p' is not taken here"),
        (r"[\p{Greek}x]{4}", "names characters by number or property"),
        (r"\x{1F600}{2}", "RE2 says 'invalid escape sequence: "),
        (r"\x41\x42", r"'\\x' is not taken here"),
        (r"\C\C", r"'\\C' is not taken here"),
        (r"\QEMP\E", r"'\\Q' is not taken here"),
        ("M\u00fcller", "it has 'ü'; accents are taken off a text"),
        ("(?P<id>ab)", "'(?P<id>ab)' is not taken here"),
        ("(?s)a.b", "'(?s)' is not taken here"),
        ("a{2,3}?b", "a '?' behind a count asks for the shortest match"),
        ("ab(?i)c|d", "'(?i)' stands at the beginning"),
        ("(" * 17 + "ab" + ")" * 17, "more than 16 groups within groups"),
        ("(?i)" * 40 + "ab", "more than 16 groups within groups"),
        ("(?:a|b|c|d|e|f|g){80}", "it comes to 560 steps"),
        ("(?:a|b{0,50}){2}" * 9, "it may match 900 characters"),
        ("ab|" * 400 + "ab", "it has 1,202 characters"),
    ],
)
def test_what_is_refused(pattern: str, said: str) -> None:
    """Each with its line, what was seen and what to write instead."""
    quoted = f"'''{pattern}'''"
    why = refused(f"{HEAD}[policies.p.custom.employee]\naction = 'mask'\npattern = {quoted}\n")
    assert why.startswith("a.toml:5: policies.p.custom.employee.pattern is ")
    assert f" is '{pattern[:80]}" in why
    assert said in why


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("custom.email = { words = ['ab'], action = 'mask' }", '"email" is a kind of pii already'),
        ("custom.person = { words = ['ab'], action = 'mask' }", '"person" is a kind of pii already'),
        ("custom.Employee = { words = ['ab'], action = 'mask' }", '"Employee" cannot be a kind; it takes 2'),
        ("custom.emp1 = { words = ['ab'], action = 'mask' }", '"emp1" cannot be a kind'),
        ("custom._id = { words = ['ab'], action = 'mask' }", '"_id" cannot be a kind'),
        ("custom.'a b' = { words = ['ab'], action = 'mask' }", '"a b" cannot be a kind'),
        (f"custom.{'a' * 25} = {{ words = ['ab'], action = 'mask' }}", "cannot be a kind"),
        ("custom.code = { words = ['ab'], pattern = 'ab', action = 'mask' }", "needs either pattern"),
        ("custom.code = { action = 'mask' }", "needs either pattern = '…' or words"),
        ("custom.code = { words = [], action = 'mask' }", "needs either pattern = '…' or words"),
        ("custom.code = { words = 'ab', action = 'mask' }", 'custom.code.words is "ab"; expected a list'),
        ("custom.code = { words = ['ab'] }", 'lacks "action"'),
        ("custom.code = { words = ['ab'], action = 'hide' }", "expected mask | tokenize | block | observe"),
        ("custom.code = { word = ['ab'], action = 'mask' }", 'did you mean "words"'),
        ("custom.code = { words = ['ab', 'x'], action = 'mask' }", 'custom.code.words[1] is "x"'),
        ("custom.code = { words = ['--'], action = 'mask' }", "with a letter or digit"),
        ('custom.code = { words = ["a\\u200b"], action = "mask" }', "a word has 2 characters or more"),
        ('custom.code = { words = ["_a--"], action = "mask" }', "2 characters or more beside hyphens"),
        (f"custom.code = {{ words = ['{'ab' * 33}'], action = 'mask' }}", "66 characters long"),
    ],
)  # fmt: skip
def test_what_else_is_refused(line: str, said: str) -> None:
    """Names that are none, words that say nothing, and tables that say both or neither."""
    why = refused(HEAD + line)
    assert why.startswith("a.toml:3: ")
    assert said in why


def letters(at: int) -> str:
    """A name of letters."""
    return f"k{chr(97 + at // 26)}{chr(97 + at % 26)}"


def test_how_many_there_may_be() -> None:
    """Kinds, words, their characters, and what all patterns come to."""

    def custom(count: int, made: str) -> str:
        return HEAD + "".join(
            f"custom.{letters(at)} = {{ {made}, action = 'mask' }}\n" for at in range(count)
        )

    parse_config(custom(KINDS_MAX, "pattern = 'EMP-\\d{6}'"), source="it")
    assert f"has 51 kinds, and may have {KINDS_MAX}" in refused(custom(51, "words = ['ab']"))
    words = [f"w{at}" for at in range(WORDS_MAX // 2)]
    parse_config(custom(2, f"words = {words}"), source="it")
    assert "has 1,500 words" in refused(custom(3, f"words = {words}"))
    long = [f"{'w' * 50}{at:04d}" for at in range(CHARS_MAX // 54 + 1)]
    assert f"and may have {WORDS_MAX:,} of {CHARS_MAX:,}" in refused(custom(1, f"words = {long}"))
    wide = f"pattern = '(?:ab|cd){{{STEPS_MAX // 4}}}'".replace("125", str(MATCH_MAX // 4))
    assert "its patterns come to 2,048 steps" in refused(custom(8, wide))


def test_a_policy_of_its_own_kinds_alone() -> None:
    """`pii` may be left out; a policy that looks for nothing is none."""
    parse_config("[policies.p]\ncustom.code = { words = ['ab'], action = 'block' }", source="it")
    assert "[policies.p] looks for nothing; give it pii" in refused("[policies.p]\n")


def test_hostile_patterns_are_told_at_once() -> None:
    """None of those that other engines fall for takes time here, taken or refused."""
    began = time.process_time()
    for pattern in (
        r"(?:a?){100}a{100}", r"(?:a|a){200}b", r"(?:(?:a{1,16}){1,16}){1,1}b", r"(?:x{0,15}){0,15}y",
        "(" * 400, "[" * 900, "a{1,9}" * 160, r"\b" * 480 + "ab", "(?:" * 200 + "a" + ")?" * 200,
        "((a{9}){9}){9}", "(?:" * 15 + "a" + "){1,16}" * 15, "|".join(["ab"] * 300), "a" * 1000,
    ):  # fmt: skip
        with suppress(PatternError):
            assert measures(read_pattern(pattern)).steps <= STEPS_MAX
    assert time.process_time() - began < 2.0
