"""`[tags.NAME]`: what each value of a tag may spend."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from airboss.config import parse_config
from airboss.domain.errors import ConfigError


def test_a_tag_has_a_budget() -> None:
    """By day or month, under any name that can be printed."""
    text = '[tags.project]\nbudget = { usd = 50, per = "day" }\n[tags."my tag/x"]\nbudget = { usd = 0.5 }\n'
    tags = parse_config(text, source="x").tags
    assert {name: (each.budget.usd, each.budget.per) for name, each in tags.items()} == {
        "project": (Decimal(50), "day"),
        "my tag/x": (Decimal("0.5"), "month"),
    }


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[tags.project]\n", 'x:1: [tags.project] lacks "budget"'),
        ("[tags.project]\nbudget = { usd = -1 }\n", "tags.project.budget.usd"),
        ("[tags.project]\nbudget = { usd = 0.00000000001 }\n", "ten decimals"),
        ('[tags.project]\nbudget = { usd = 1, per = "year" }\n', "year"),
        ("[tags.project]\nbudget = { usd = 1 }\nlimits = {}\n", "limits"),
        ("[tags.session_id]\nbudget = { usd = 1 }\n", "is the session, no tag"),
        ('[tags.""]\nbudget = { usd = 1 }\n', "cannot be a tag with a budget"),
        (f"[tags.{'x' * 65}]\nbudget = {{ usd = 1 }}\n", "1 to 64 characters"),
        ('[tags."a\\nb"]\nbudget = { usd = 1 }\n', "that can be printed"),
        (
            "".join(f"[tags.t{n}]\nbudget = {{ usd = 1 }}\n" for n in range(9)),
            "9 tags have budgets, of at most 8",
        ),
        ("[tag.project]\nbudget = { usd = 1 }\n", 'did you mean "tags"?'),
    ],
)
def test_what_means_nothing_is_refused(text: str, cause: str) -> None:
    """With its line."""
    with pytest.raises(ConfigError, match=re.escape(cause)) as error:
        parse_config(text, source="x")
    assert re.match(r"x:\d+: ", str(error.value))
