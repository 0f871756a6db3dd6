"""What a new release is to be called is known to be a name before there is anything to lose."""

from __future__ import annotations

import msgspec
import pytest

from airboss.config.checks import NAME
from airboss.domain.errors import WrongCall
from airboss.tuning.orders import name_of
from tests.tuning.support import BASE


@pytest.mark.parametrize("given", ["", "a/b", "über", "a b", "-a", "a\n", "x" * 65])
def test_what_is_no_name_is_refused(given: str) -> None:
    """With what is one."""
    with pytest.raises(WrongCall, match="cannot be a name; use 1 to 64 of"):
        name_of(given, BASE, "-finetuned")


@pytest.mark.parametrize(
    ("today", "new"),
    [
        ("support", "support-finetuned"),
        ("support-finetuned", "support-finetuned"),
        ("meta/llama:8b@x", "meta-llama-8b-x-finetuned"),  # as deployments may be called
        ("x" * 128, "x" * 48 + "-finetuned"),
    ],
)
def test_a_name_that_is_made_is_one(today: str, new: str) -> None:
    """Whatever today's release is called, also with a number behind it."""
    made = name_of(None, msgspec.structs.replace(BASE, name=today), "-finetuned")
    assert made == new
    assert NAME.fullmatch(f"{made}-99")
    assert name_of("v2.new_one", BASE, "-finetuned") == "v2.new_one"
