"""Facts about `parse_config` that hold for any input."""

from __future__ import annotations

import json
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.config import parse_config
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
