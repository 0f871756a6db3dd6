"""A number, a text or a list where a table is wanted: the line to write instead is told."""

from __future__ import annotations

import tomllib

import pytest

from airboss.config import parse_config
from airboss.config.meant import MEANT, SWITCHED
from airboss.domain.errors import ConfigError

BASE = """[providers.p]
kind = "openai"
api_key = "env:X"
[models.m]
provider = "p"
model = "x"
[deployments.d]
model = "m"
"""
IN_MODEL = '[models.n]\nprovider = "p"\nmodel = "y"\n'
SLIPS = {
    "timeout = 30": "timeout = { total_s = 30 }",
    "timeout = 2.50": "timeout = { total_s = 2.50 }",
    'timeout = "1.5 m"': "timeout = { total_s = 90 }",
    'timeout = "250ms"': "timeout = { total_s = 0.25 }",
    "retry = 3": "retry = { attempts = 3 }",
    "retry = false": "retry = { attempts = 1 }",
    "retry = true": "retry = { attempts = 3 }",
    "limits = 600": "limits = { requests_per_minute = 600 }",
    "limits = { concurrency = 1, queue = 10 }": "queue = { size = 10 }",
    "cache = true": "cache = {}",
    "cache = 3600": "cache = { ttl_s = 3600 }",
    'cache = "1h"': "cache = { ttl_s = 3600 }",
    "hedge = true": "hedge = {}",
    "hedge = 0.9": "hedge = { quantile = 0.9 }",
    "rollout = true": "rollout = {}",
    "rollout = [5, 50]": "rollout = { steps = [5, 50] }",
    "rollout = { margin = 0.01 }": "margin = { error_rate = 0.01 }",
    'rollout = { gate = "golden" }': 'gate = { dataset = "golden", scorer = "exact" }',
    "shadow = true": "shadow = {}",
    "shadow = 0.1": "shadow = { sample = 0.1 }",
    'shadow = "next"': 'shadow = { release = "next" }',
    'preview = "ann"': 'preview = { users = ["ann"] }',
    'preview = ["ann", "bob"]': 'preview = { users = ["ann", "bob"] }',
    "drift = false": "drift = { features = false }",
    'scoring = "exact"': 'scoring = { scorers = ["exact"] }',
    "[keys.k]\nbudget = 12": 'budget = { usd = 12, per = "month" }',
    "[keys.k]\neach_user = 10": "each_user = { limits = { requests_per_minute = 10 } }",
    "[tags]\nproject = 5": 'project = { budget = { usd = 5, per = "month" } }',
    f"{IN_MODEL}price = 0": "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }",
    f"{IN_MODEL}replicas = 2": "replicas = { min = 2, max = 2 }",
    '[policies.p]\npii = "mask"': 'pii = { action = "mask" }',
    "[policies.p]\npii = true": 'pii = { action = "mask" }',
    "[store]\nretention = 30": "retention = { bodies_days = 30 }",
    '[telemetry]\notlp = "http://x:4318"': 'otlp = { endpoint = "http://x:4318" }',
    '[alarms.a]\ndeployment = "d"\nslo = 0.999': "slo = { target = 0.999 }",
}
TABLES = {
    'providers = { q = "openai" }': 'q = { kind = "openai" }',
    'deployments = { d = "m" }': 'd = { model = "m" }',
    "approvals = true": "approvals = { required = true }",
}


def refusal(text: str) -> str:
    """What is said of a configuration."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="a.toml")
    return str(caught.value)


@pytest.mark.parametrize("line", [*SLIPS, *TABLES])
def test_the_line_that_was_meant_is_told(line: str) -> None:
    """Ready to be written in place of the one that is wrong."""
    text = f"{BASE if line in SLIPS else ''}{line}\n"
    written = (SLIPS | TABLES)[line]
    said = refusal(text)
    assert said.endswith(f"]: write {written}"), said
    assert "expected a table, as in [" in said
    assert list(tomllib.loads(written)) == [written.partition(" = ")[0]]


def test_every_kind_is_tried() -> None:
    """None of what may be told is left without a line above."""
    assert len(MEANT) == 25
    told = {written.partition(" = ")[0] for written in (SLIPS | TABLES).values()}
    assert len(told) >= len(MEANT) - 1, "users are named in three places, by one kind"
    assert set(SWITCHED) <= set(MEANT)


@pytest.mark.parametrize("line", ["cache = false", "hedge = false", "shadow = false"])
def test_what_is_off_without_it_is_left_out(line: str) -> None:
    """There is no way to write that it is off."""
    assert refusal(f"{BASE}{line}\n").endswith(f".{line.partition(' ')[0]}]: leave it out to have it off")


@pytest.mark.parametrize(
    "line",
    ['timeout = "soon"', "timeout = true", "[models]\nn = 3", '[deployments]\n"a b" = "m"', "retry = 1.5"],
)
def test_where_nothing_is_likely_nothing_is_guessed(line: str) -> None:
    """The kind of thing that is wanted is told, as ever."""
    assert refusal(f"{BASE}{line}\n").endswith("]")
