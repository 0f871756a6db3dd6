"""Custom tools of Responses as functions of one text."""

from __future__ import annotations

import pytest

from airboss.dialects.responses_custom import arguments_of, input_of

TEXT = '*** Begin\n"ü" \\ \u2028 end'


def test_the_input_is_what_it_was() -> None:
    """There and back."""
    assert input_of(arguments_of(TEXT)) == TEXT


@pytest.mark.parametrize("escaped", [False, True])
def test_arguments_that_break_off_hold_the_beginning_of_the_input(escaped: bool) -> None:
    """Wherever they do; half of an escape is left off."""
    whole = arguments_of(TEXT)
    if escaped:
        whole = whole.replace("ü", r"\u00fc")
    begins = whole.index('":"') + 3
    read = [input_of(whole[:at]) for at in range(begins, len(whole) - 1)]
    assert all(TEXT.startswith(each) for each in read), read
    assert read[-1] == TEXT
    assert sorted(read, key=len) == read


@pytest.mark.parametrize("odd", ["", "{", '{"inp', '{"input": 5}', "*** Begin", '{"a": "b"}', '["x"]'])
def test_other_arguments_are_the_input_as_they_are(odd: str) -> None:
    """A model that heeds no schema is not lost."""
    assert input_of(odd) == odd
