"""The alarm of whom a rollout always gives the canary."""

from __future__ import annotations

from airboss.config import all_alarms, parse_config

TEXT = """
[providers.p]
kind = "openai"
[models.m]
provider = "p"
model = "x"
[deployments.d]
model = "m"
"""


def test_it_is_of_their_calls_alone_and_of_some() -> None:
    """Everybody's errors have their own; one failed call of one tester wakes nobody."""
    assert "d.always" not in all_alarms(parse_config(TEXT, source="f"), ())
    named = TEXT + 'rollout = { always = { users = ["ada"] } }\n'
    alarm = all_alarms(parse_config(named, source="f"), ())["d.always"]
    assert (alarm.deployment, alarm.metric, alarm.where) == ("d", "error_rate", {"arm": "always"})
    assert (alarm.above, alarm.min_requests) == (0.1, 10)
