"""Scoring, alarms and notifiers in the configuration."""

from __future__ import annotations

import re

import pytest

from airboss.config import AlarmConfig, NotifierConfig, parse_config
from airboss.config.checks_watch import seconds
from airboss.domain.errors import ConfigError

BASE = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[deployments.support]
model = "m"
"""
NOTIFIER = """
[notifiers.ops]
webhook = "https://hooks.example.com/x?token=1"
secret = "env:HOOK"
"""


def alarm(**fields: str) -> str:
    """A configuration with an alarm; values as TOML, "" leaves a field out."""
    given = {"metric": '"error_rate"', "deployment": '"support"', "above": "0.1"} | fields
    lines = "\n".join(f"{name} = {value}" for name, value in given.items() if value)
    return f"{BASE}{NOTIFIER}\n[alarms.errors]\n{lines}\n"


def test_an_alarm_is_read_with_its_defaults() -> None:
    """`for` is its name in the file; what is left out has a sensible value."""
    config = parse_config(alarm(), source="x")
    assert config.alarms["errors"] == AlarmConfig(metric="error_rate", deployment="support", above=0.1)
    assert (config.alarms["errors"].window, config.alarms["errors"].hold) == ("5m", "1m")
    held = parse_config(alarm(**{"for": '"2h"', "notify": '["ops"]'}), source="x").alarms["errors"]
    assert (held.hold, held.notify) == ("2h", ("ops",))
    assert config.notifiers["ops"] == NotifierConfig(
        webhook="https://hooks.example.com/x?token=1", secret="env:HOOK"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (alarm(metric='"errors"'), 'did you mean "error_rate"?'),
        (alarm(metric='"score:"'), "score:NAME"),
        (alarm(metric='"score:a b"'), "score:NAME"),
        (alarm(deployment='"suport"'), 'did you mean "support"?'),
        (alarm(above=""), "exactly one of above and below"),
        (alarm(below="0.5"), "exactly one of above and below"),
        (alarm(above="5"), "expected 0.0 to 1.0"),
        (alarm(window='"5 minutes"'), "write 10s to 1d"),
        (alarm(window='"5s"'), "write 10s to 1d"),
        (alarm(window='"2d"'), "write 10s to 1d"),
        (alarm(**{"for": '"soon"'}), "alarms.errors.for"),
        (alarm(hold='"1m"'), '"hold" is not a key of [alarms.errors]'),
        (alarm(notify='["op"]'), 'did you mean "ops"?'),
        (alarm(no_data='"wake"'), "show | notify"),
        (alarm().replace("[alarms.errors]", '[alarms."a b"]'), "cannot be a name"),
    ],
)
def test_wrong_alarms_are_refused(text: str, words: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(text, source="x")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('webhook = "ftp://h/x"', "no URL to send to"),
        ('webhook = "hooks"', "no URL to send to"),
        ('webhook = "https://user:pw@h/x"', "user or password"),
        ('webhook = "https://h/x#y"', "a #"),
        ('webhook = "https://h:0/x"', "no URL to send to"),
        ('webhook = "env:1A"', "environment variable"),
        ('webhook = "file:x"', "absolute path"),
        ('webhook = "https://h/x"\nsecret = "very-secret"', "must not be written out"),
    ],
)
def test_wrong_notifiers_are_refused_without_their_secrets(line: str, words: str) -> None:
    """A URL may be a secret as a whole, and is not repeated."""
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        parse_config(f"{BASE}[notifiers.ops]\n{line}\n", source="x")
    for secret in ("pw@", "very-secret", "//h"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("scoring", "words"),
    [
        ('{ scorers = ["refusal"], sample = 0 }', "sample"),
        ('{ scorers = ["refusal"], sample = 1.5 }', "sample"),
        ("{ scorers = [] }", "name 1 to 20"),
        ("{ sample = 0.1 }", 'lacks "scorers"'),
        ('{ scorers = ["refusal"], judge_per_minute = 0 }', "judge_per_minute"),
        ("{ scorers = [1] }", "scorers"),
    ],
)
def test_wrong_scoring_is_refused(scoring: str, words: str) -> None:
    """What the scorers themselves say is checked where they are known."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(f"{BASE}scoring = {scoring}\n", source="x")


def test_times_are_short_words() -> None:
    """A number and a unit; nothing else is guessed at."""
    assert [seconds(text) for text in ("30s", "5m", "2h", "1d")] == [30, 300, 7200, 86_400]
    assert [seconds(text) for text in ("", "5", "m", "5 m", "-5m", "1.5h", "5M")] == [None] * 7
