"""What alarms may say beside their bound, in the configuration: of which calls, of how many, how often."""

from __future__ import annotations

import re

import pytest

from airboss.config import parse_config, warnings_of
from airboss.domain.errors import ConfigError
from airboss.domain.ports import RecordFilter
from airboss.store.alert_metrics import calls_in
from airboss.store.alert_rules import of_teams, rule_of
from tests.config.test_watch import alarm

TEAM = '[teams.web]\nbudget = { usd = 1, per = "day" }\n'
REQUESTS = {"metric": '"requests"', "above": "5"}


def test_the_calls_are_chosen_by_filters_of_records() -> None:
    """All that are given must hold; a team is the keys that are in it when it is looked."""
    where = '{ team = "web", tag = "a=b", model = "m", arm = "canary" }'
    config = parse_config(TEAM + alarm(where=where), source="x")
    rule = rule_of("errors", config.alarms["errors"])
    narrowed = of_teams(rule, {"web": {"one", "two"}, "ops": {"three"}})
    chosen = RecordFilter(deployment="support", keys=("one", "two"), tag="a=b", model="m", arm="canary")
    assert calls_in(narrowed) == chosen
    assert calls_in(of_teams(rule, {})).keys == ("(none)",)
    assert calls_in(rule_of("e", parse_config(alarm(), source="x").alarms["errors"])) == RecordFilter(
        deployment="support"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"where": '{ key = "app" }'},
        {"where": '{ tag = "\\"a=b\\"=c" }'},
        {"where": f'{{ release = "{"ab" * 32}" }}'},
        {"where": '{ status = "refused" }', **REQUESTS},
        {"where": '{ error_type = "timeout" }', **REQUESTS},
        {"where": '{ policy = "email" }', "kind": '"change"'},
        {"where": '{ tag = "a=b" }', "metric": '"score:tone"', "above": "", "below": "0.5"},
        {"where": '{ key = "app" }', "kind": '"sequential"', "above": ""},
        {"where": '{ key = "app" }', "slo": "{ target = 0.9 }", "above": "", "metric": ""},
    ],
)
def test_every_kind_that_counts_calls_takes_them(fields: dict[str, str]) -> None:
    """And no warning is said."""
    assert warnings_of(parse_config(alarm(**fields), source="x")) == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"where": '{ kee = "app" }'}, 'no calls are chosen by "kee"; did you mean "key"?'),
        ({"where": '{ user = "ada" }'}, "alarms.errors.where.user names a person"),
        ({"where": '{ session = "s" }'}, "no erasure comes; choose by key or tag"),
        ({"where": '{ key = " " }'}, "alarms.errors.where.key is empty"),
        ({"where": "{ key = 3 }"}, "alarms.errors.where"),
        ({"where": '{ team = "wbe" }'}, 'there is no team "wbe"; did you mean "web"?'),
        ({"where": '{ arm = "canry" }'}, 'did you mean "canary"?'),
        ({"where": '{ tag = "team" }'}, "alarms.errors.where.tag: 'team' is no tag; write NAME=VALUE"),
        ({"where": '{ release = "1a2b3c4d" }'}, "write the whole digest"),
        ({"where": '{ status = "error" }'}, 'watch metric = "requests" with it'),
        ({"where": '{ error_type = "timeout" }'}, "any share is all or nothing"),
        ({"where": '{ status = "failed" }', **REQUESTS}, "there is no status"),
        ({"where": '{ key = "app" }', "kind": '"drift"', "metric": "", "above": ""}, "has no where"),
        ({"key": '"app"'}, "has no key; write where = { key = … }"),
    ],
)
def test_what_matches_no_call_is_refused(fields: dict[str, str], words: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(TEAM + alarm(**fields), source="x")


def test_a_model_that_no_provider_is_asked_for_is_told() -> None:
    """Records have the provider's name of a model; one of an earlier configuration may have answered."""
    (warning,) = warnings_of(parse_config(alarm(where='{ model = "n" }'), source="x"))
    assert warning.startswith('alarms.errors.where.model: no model of [models] is called "n" by its provider')


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_requests": "0"}, "min_requests is 0; expected 1"),
        ({"min_requests": "20", "kind": '"change"'}, 'of kind "change" has no min_requests'),
        ({"min_requests": "20", **REQUESTS}, "alarms.errors.min_requests: requests is a sum"),
        ({"min_requests": "20", "metric": '"cost_usd"'}, "cost_usd is a sum"),
        ({"remind": '"often"'}, "alarms.errors.remind"),
        ({"remind": '"10s"'}, 'write 1m to 7d, such as "4h"'),
        ({"remind": '"8d"'}, "write 1m to 7d"),
    ],
)
def test_how_many_and_how_often_are_checked(fields: dict[str, str], words: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(alarm(**fields), source="x")


def test_how_many_and_how_often_are_taken() -> None:
    """Of whatever kind it is, somebody may be reminded."""
    given = alarm(min_requests="20", remind='"4h"')
    rule = rule_of("errors", parse_config(given, source="x").alarms["errors"])
    assert (rule.min_requests, rule.remind_s) == (20, 14_400)
    plain = rule_of("errors", parse_config(alarm(), source="x").alarms["errors"])
    assert (plain.min_requests, plain.remind_s) == (1, 0)
