"""Facts about `parse_config` that hold for any input."""

from __future__ import annotations

import json
import string
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.config import locate, parse_config
from airboss.config.locate import line_of, statement_of
from airboss.domain.errors import ConfigError

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
strange_names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
values = st.sampled_from(["1", '"x"', "[\n  1,\n  2,\n]", '"""\na\n[b]\n"""', "{ a = 1 }", "'#'", "nan"])
FRAGMENTS = [
    "[providers.p]",
    'kind = "openai"',
    "[models.m]",
    'provider = "p"',
    'model = "x"',
    "[deployments.d]",
]


def said(text: str) -> str:
    """The error's message, or the file's name for a text that is taken."""
    try:
        parse_config(text, source="some.toml")
    except ConfigError as error:
        return str(error)
    return "some.toml:"


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_an_error_that_names_the_file(text: str) -> None:
    """Whatever the file holds, nothing but ConfigError comes out."""
    assert said(text).startswith("some.toml:")


@given(st.lists(st.sampled_from(FRAGMENTS) | st.builds("{} = {}".format, names, values), max_size=8))
def test_any_mix_of_lines_is_a_configuration_or_an_error(lines: list[str]) -> None:
    """Nor for text that is nearly right."""
    assert said("\n".join(lines)).startswith("some.toml:")


@settings(max_examples=50)
@given(st.lists(st.tuples(strange_names, values), min_size=1, max_size=6, unique_by=lambda pair: pair[0]))
def test_every_key_is_found_on_its_own_line(pairs: list[tuple[str, str]]) -> None:
    """The line of a key is where it was written, whatever it is called and whatever stands around it."""
    text, expected = "# head\n[t]\n", {}
    for name, value in pairs:
        expected[name] = text.count("\n") + 1
        text += f"{json.dumps(name, ensure_ascii=False)} = {value}\n\n"
    for name, line in expected.items():
        statement = statement_of(text, ("t", name))
        assert statement is not None
        # The statement may begin with the blank line after the one before it, never with that one itself.
        assert line_of(text, ("t", name)) == line
        assert line - 1 in statement


hard_values = values | st.sampled_from(
    [
        '"""a\n""""',
        '"""a\n"b""c\n"""""',
        '"""\\"""\n"""',
        "'''a\n'''''",
        "'''\\\n'''",
        '""',
        '""""""',
        "'\\'",
        '"\\""',
        '"#["  # a comment with ] and "',
        "[ # ]\n  ']', # \"\n]",
        "[{ a = '}' },\n { a = 2 }]",
    ]
)


def parses(text: str) -> bool:
    """Whether it is TOML."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@settings(max_examples=200)
@given(st.lists(hard_values, max_size=6), st.sampled_from(["", "\n", "\n# [\n\n"]))
def test_statements_end_where_the_text_may_be_cut(given_values: list[str], end: str) -> None:
    """After just those lines up to which it is TOML."""
    text = (
        "".join(f"[t{at}] # it's\nk = {value}\n" for at, value in enumerate(given_values)) + "last = 1" + end
    )
    lines = text.split("\n")
    wanted = [at for at in range(1, len(lines) + 1) if parses("\n".join(lines[:at]))]
    assert locate._ends(text) == wanted


def test_a_long_text_beside_an_error_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed a few times and not once a line: 2,000 lines took five seconds."""
    tries = []
    loads = tomllib.loads

    def counted(text: str, **how: Any) -> object:
        tries.append(text)
        return loads(text, **how)

    monkeypatch.setattr(tomllib, "loads", counted)
    prompt = "Answer as the house does.\n" * 2_000
    text = f'[releases.long]\nprompt = """\n{prompt}"""\nmodle = "m"\n'
    assert said(text).startswith('some.toml:2004: "modle" is not a key')
    assert len(tries) < 12
