"""What a Slack-compatible webhook is told."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.controller.webhook import slack


@pytest.mark.parametrize(
    ("body", "label"),
    [
        ({"alarm": "x", "kind": "threshold"}, "Show the calls"),
        ({"alarm": "x", "kind": "drift"}, "Show what drifted"),
        ({"alarm": "x", "kind": "recording"}, "Show the system"),
        ({"alarm": "x", "kind": "eval"}, "Show the evaluation"),
        ({"alarm": "x", "kind": "probe"}, "Show the probes"),
        ({"alarm": "x", "kind": "budget", "key": "k"}, "Show the calls"),
        ({"alarm": "x", "kind": "budget", "team": "t"}, "Show what its keys spent"),
        ({"alarm": "x", "kind": "budget", "tag": "t"}, "Show what its values spent"),
        ({"alarm": "x", "period": "weekly"}, "Show what was spent"),
        ({"alarm": "x", "proposal": 3}, "Show what is asked for"),
    ],
)
def test_a_link_is_called_by_what_it_leads_to(body: dict[str, Any], label: str) -> None:
    """Not every alarm is about calls."""
    shown = slack({**body, "text": "", "link": "http://c/x"})["blocks"][1]["elements"]
    assert [each["text"] for each in shown] == [f"<http://c/x|{label}>"]
