"""Scoring, alarms and notifiers in the configuration."""

from __future__ import annotations

import re

import msgspec
import pytest

from airboss.config import AlarmConfig, Config, NotifierConfig, all_alarms, parse_config, warnings_of
from airboss.config.checks_watch import seconds
from airboss.domain.errors import ConfigError
from airboss.store.alert_rules import rule_of

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
        (
            alarm(above="1"),
            "alarms.errors.above is 1: error_rate is never above 1, so that this alarm would never fire",
        ),
        (alarm(above="", below="0"), "error_rate is never below 0"),
        (alarm(metric='"requests"', above="", below="-1"), "requests is never below 0"),
        (
            alarm(metric='"requests"', kind='"change"', above="", below="-1"),
            "a change of requests is never below -1",
        ),
        (alarm(kind='"change"', above="1"), "a change of error_rate is never above 1"),
        (alarm(window='"5 minutes"'), "write 10s to 1d"),
        (alarm(window='"5s"'), "write 10s to 1d"),
        (alarm(window='"2d"'), "write 10s to 1d"),
        (alarm(**{"for": '"soon"'}), "alarms.errors.for"),
        (alarm(hold='"1m"'), '"hold" is not a key of [alarms.errors]'),
        (alarm(notify='["op"]'), 'did you mean "ops"?'),
        (BASE + NOTIFIER + '[approvals]\nnotify = ["op"]\n', 'did you mean "ops"?'),
        (BASE + NOTIFIER + '[summaries.x]\nnotify = ["op"]\n', 'did you mean "ops"?'),
        (BASE + '[summaries.x]\nby = "user"\n', "summaries.x.by"),
        (BASE + '[summaries."a b"]\n', "cannot be a name"),
        (
            BASE + "[store]\nretention = { records_days = 30 }\n[summaries.x]\n",
            "[summaries.x] adds up records of 38 days, and store.retention keeps 30",
        ),
        (alarm(no_data='"wake"'), "show | notify"),
        (alarm().replace("[alarms.errors]", '[alarms."a b"]'), "cannot be a name"),
    ],
)
def test_wrong_alarms_are_refused(text: str, words: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(text, source="x")


KINDS = """
[alarms.budget]
deployment = "support"
slo = { target = 0.99, window = "30d" }
[alarms.week]
deployment = "support"
kind = "change"
metric = "requests"
below = -0.5
window = "1h"
[alarms.worse]
deployment = "support"
kind = "sequential"
metric = "score:tone"
alpha = 0.02
[alarms.bias]
deployment = "support"
probe = { calls = 300, attributes = ["gender"] }
every = "7d"
[alarms.golden]
deployment = "support"
eval = { dataset = "golden", scorer = { kind = "exact" }, max_usd = 0.5 }
[maintenance.night]
weekly = "sun 02:00-04:00"
[maintenance.move]
starts = 2026-12-01T02:00:00Z
ends = 2026-12-01T03:00:00Z
deployments = ["support"]
[notifiers.chat]
slack = "env:SLACK"
[notifiers.mail]
email = { host = "smtp.example.com", from = "a@example.com", to = ["ops@example.com"] }
"""


@pytest.mark.parametrize(
    "fields",
    [
        {"above": "0"},
        {"above": "0.999"},
        {"metric": '"requests"', "above": "", "below": "1"},
        {"metric": '"latency_p95"', "above": "1"},
        {"metric": '"requests"', "kind": '"change"', "above": "3"},
        {"metric": '"requests"', "kind": '"change"', "above": "", "below": "-0.95"},
        {"metric": '"score:mood"', "above": "", "below": "-2"},
        {"kind": '"budget"', "metric": "", "deployment": "", "key": '"app"', "above": "1"},
    ],
)
def test_a_bound_that_can_be_broken_is_taken(fields: dict[str, str]) -> None:
    """However far out it is."""
    assert "errors" in parse_config(alarm(**fields), source="x").alarms


def test_alarms_of_every_kind_are_read() -> None:
    """The kind follows from what is given, or is said."""
    config = parse_config(BASE + KINDS, source="x")
    kinds = {name: each.compares for name, each in config.alarms.items()}
    assert kinds == {
        "budget": "burn_rate",
        "week": "change",
        "worse": "sequential",
        "bias": "probe",
        "golden": "eval",
    }
    assert config.notifiers["mail"].email is not None
    assert config.maintenance["move"].deployments == ("support",)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("target = 0.99", "target = 1.0", "alarms.budget.slo.target"),
        ('window = "30d"', 'window = "1h"', "write 1d to 90d"),
        ('slo = { target = 0.99, window = "30d" }', 'kind = "burn_rate"', "needs slo"),
        ('kind = "change"', 'kind = "probe"', "needs probe"),
        ('metric = "score:tone"', 'metric = "requests"', "a sequential alarm watches one of"),
        ('metric = "score:tone"', "", 'lacks "metric"'),
        ("below = -0.5", "", "exactly one of above and below"),
        ("alpha = 0.02", "alpha = 0.5", "alarms.worse.alpha"),
        ("alpha = 0.02", "above = 1", "neither above nor below"),
        ('every = "7d"', 'every = "5m"', "write 1h to 90d"),
        ('every = "7d"', 'metric = "cost_usd"', "has no metric"),
        ("max_usd = 0.5", "max_usd = 0", "alarms.golden.eval.max_usd"),
        ("max_usd = 0.5", "calls = 0", "alarms.golden.eval.calls"),
        ("max_usd = 0.5", "repeats = 21", "alarms.golden.eval.repeats"),
        ("max_usd = 0.5", 'part = "holdout"', "expected train | validation"),
        ("max_usd = 0.5", "max_us = 0.5", 'did you mean "max_usd"?'),
        ("scorer = { kind", "scoer = { kind", 'did you mean "scorer"?'),
        ("max_usd = 0.5 }", "max_usd = 0.5 }\nabove = 1\nbelow = 0", "both above and below"),
        ("max_usd = 0.5 }", 'baseline = "eval-1" }\nbelow = 0.5', "both below and eval.baseline"),
        ("max_usd = 0.5 }", 'max_usd = 0.5 }\nmetric = "requests"', "has no metric"),
        ("max_usd = 0.5 }", 'max_usd = 0.5 }\nwhere = { key = "a" }', "has no where"),
        ('slo = { target = 0.99, window = "30d" }', 'kind = "eval"', "needs eval"),
        ("sun 02:00-04:00", "sunday at 2", "sun 02:00-04:00"),
        ("sun 02:00-04:00", "sun 02:00-02:00", "sun 02:00-04:00"),
        ("starts = 2026-12-01T02:00:00Z", "", "needs starts and ends, or weekly"),
        ("starts = 2026-12-01T02:00:00Z", "starts = 2026-12-01T02:00:00", "has no zone"),
        ("starts = 2026-12-01T02:00:00Z", "starts = 2027-12-01T02:00:00Z", "ends before it starts"),
        ('deployments = ["support"]', 'deployments = ["suport"]', 'did you mean "support"?'),
        ('slack = "env:SLACK"', 'slack = "env:SLACK"\nwebhook = "https://h/x"', "exactly one of"),
        ('slack = "env:SLACK"', 'slack = "env:SLACK"\nsecret = "env:X"', "signs what a webhook gets"),
        ('to = ["ops@example.com"]', "to = []", "name 1 to 20"),
        ('to = ["ops@example.com"]', 'to = ["ops"]', "write an address"),
        ('host = "smtp.example.com"', 'host = "smtp example"', "write a host's name"),
        ('from = "a@example.com"', 'from = "a@example.com", user = "a"', "user and password, or neither"),
        (
            'from = "a@example.com"',
            'from = "a@example.com", user = "a", password = "hunter2"',
            "must not be written out",
        ),
        (
            'from = "a@example.com"',
            'from = "a@example.com", user = "a", password = "env:P", tls = "off"',
            "unencrypted",
        ),
    ],
)
def test_what_no_kind_can_do_is_refused(before: str, after: str, words: str) -> None:
    """With the place and what would be right, and without a secret."""
    assert before in KINDS
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        parse_config(BASE + KINDS.replace(before, after), source="x")
    assert "hunter2" not in str(refused.value)


OWN = {"airboss.dead-letters", "airboss.bodies-dropped", "airboss.disk-full"}
DEFAULTS = ("errors", "latency", "cost", "refusals", "traffic", "drift")
FALLS_BACK = """
[models.spare]
provider = "p"
model = "spare"
[releases.r]
model = "m"
fallbacks = ["spare"]
[releases.plain]
model = "m"
[deployments.covered]
release = "r"
[deployments.bare]
release = "plain"
"""


def test_every_deployment_has_alarms_unless_they_are_switched_off() -> None:
    """Those tell every notifier; one of the file with a default's name takes its place."""
    config = parse_config(BASE + NOTIFIER, source="x")
    found = all_alarms(config, [])
    assert set(found) == {f"support.{each}" for each in DEFAULTS} | OWN
    assert {each.notify for each in found.values()} == {("ops",)}
    few = parse_config(BASE + 'default_alarms = ["traffic"]\n', source="x")
    assert set(all_alarms(few, [])) == {"support.traffic"} | OWN
    named = 'rollout = { always = { users = ["ada"] } }\ndefault_alarms = []\n'
    assert set(all_alarms(parse_config(BASE + named, source="x"), [])) == {"support.always"} | OWN
    assert set(all_alarms(few, ["team-a"])) == {"support.traffic", "team-a.budget"} | OWN
    assert not all_alarms(Config(), [])
    shorter = '[alarms."airboss.dead-letters"]\nkind = "recording"\nmetric = "dead_letters"\nwindow = "10s"\n'
    assert all_alarms(parse_config(BASE + shorter, source="x"), [])["airboss.dead-letters"].window == "10s"
    own = '[alarms."support.errors"]\ndeployment = "support"\nmetric = "error_rate"\nabove = 0.5\n'
    assert all_alarms(parse_config(BASE + own, source="x"), [])["support.errors"].above == 0.5


def test_a_deployment_with_fallbacks_has_an_alarm_on_them() -> None:
    """One without them has nothing to watch there, and it is switched off like the others."""
    config = parse_config(f"{BASE}{NOTIFIER}{FALLS_BACK}", source="x")
    found = all_alarms(config, [])
    asked = {name for name, each in found.items() if each.metric == "fallback_rate"}
    assert asked == {"covered.fallbacks"}
    own = found["covered.fallbacks"]
    assert (own.kind, own.deployment, own.alpha, own.notify) == ("sequential", "covered", 0.01, ("ops",))
    off = f'{BASE}{FALLS_BACK}default_alarms = ["fallbacks"]\n'
    assert "bare.fallbacks" not in all_alarms(parse_config(off, source="x"), [])
    assert not [name for name in all_alarms(parse_config(off, source="x"), []) if name.startswith("bare.")]


def test_deployments_with_like_names_have_alarms_of_their_own() -> None:
    """Of those that an alarm's name cannot tell apart each has all of them, under names that stay short."""
    names = ["a-b", "a/b", "a@b", "c/d", *(f"{'long' * 20}-{which}" for which in "xy")]
    more = "".join(f'[deployments."{name}"]\nmodel = "m"\n' for name in names)
    found = all_alarms(parse_config(BASE + more, source="x"), [])
    for default in DEFAULTS:
        of = {name: each.deployment for name, each in found.items() if name.endswith(f".{default}")}
        assert sorted(map(str, of.values())) == sorted([*names, "support"])
        assert (of[f"a-b.{default}"], of[f"c-d.{default}"]) == ("a-b", "c/d")
        assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) for name in of)


@pytest.mark.parametrize(
    ("metric", "more", "words"),
    [
        ("dead_letters", 'deployment = "support"', "has no deployment"),
        ("requests", "", "watches one of dead_letters, bodies_dropped, disk_full"),
        ("bodies_dropped", "above = 3", "has neither above nor below"),
    ],
)
def test_what_airboss_itself_is_watched_for_is_checked(metric: str, more: str, words: str) -> None:
    """A recording alarm is of no deployment, and knows three metrics."""
    text = f'[alarms.lost]\nkind = "recording"\nmetric = "{metric}"\n{more}\n'
    with pytest.raises(ConfigError, match=words):
        parse_config(BASE + text, source="x")


def test_a_budgets_alarm_is_of_a_key_and_of_most_of_it() -> None:
    """The key may be one that is made without the configuration."""
    alarm = parse_config(f'{BASE}[alarms.a]\nkind = "budget"\nkey = "app"\n', source="x").alarms["a"]
    rule = rule_of("a", alarm)
    assert (rule.key, rule.deployment, rule.bound, rule.below) == ("app", "", 0.8, False)
    assert rule_of("a", msgspec.structs.replace(alarm, above=0.5)).bound == 0.5


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('kind = "budget"', 'lacks "key" or "team" or "tag"'),
        ('kind = "budget"\ntag = "projec"', 'there is no tag "projec"; did you mean "project"?'),
        ('kind = "budget"\nteam = "ops"\ntag = "project"', "has both team and tag; keep one"),
        ('kind = "budget"\nkey = "app"\nteam = "ops"', "has both key and team; keep one"),
        ('kind = "budget"\nteam = "op"', 'there is no team "op"; did you mean "ops"?'),
        ('metric = "cost_usd"\nabove = 5\ndeployment = "support"\nteam = "ops"', "has no team"),
        ('kind = "budget"\nkey = "app"\ndeployment = "support"', "has no deployment"),
        ('kind = "budget"\nkey = "app"\nbelow = 0.5', "has no below"),
        ('kind = "budget"\nkey = "app"\nabove = 80', "above is 80"),
        ('kind = "budget"\nkey = "app"\nmetric = "cost_usd"', "has no metric"),
        ('metric = "cost_usd"\nkey = "app"\ndeployment = "support"\nabove = 1', "has no key"),
    ],
)
def test_wrong_alarms_of_budgets_are_refused(lines: str, words: str) -> None:
    """What they lack, and what they cannot have."""
    more = "[teams.ops]\nbudget = { usd = 5 }\n[tags.project]\nbudget = { usd = 5 }\n"
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(f"{BASE}[alarms.a]\n{lines}\n{more}", source="x")


def test_a_team_with_a_budget_has_an_alarm() -> None:
    """Of a name that no key's alarm has, whatever the key is called; one without a budget has none."""
    teams = "[teams.ops]\nbudget = { usd = 5 }\n[teams.dev]\nlimits = { concurrency = 5 }\n"
    config = parse_config(f"{BASE}default_alarms = []\n{teams}{NOTIFIER}", source="x")
    found = all_alarms(config, ["ops", "ops.team"])
    assert set(found) == {"ops.budget", "ops.team.budget", "ops.team-budget"} | OWN
    rule = rule_of("x", found["ops.team-budget"])
    assert (rule.team, rule.key, rule.bound, rule.notify) == ("ops", "", 0.8, ("ops",))


def test_a_tag_with_a_budget_has_an_alarm() -> None:
    """Under what an alarm can be called, whatever the tag is."""
    tags = '[tags."cost center"]\nbudget = { usd = 5 }\n[tags.project]\nbudget = { usd = 5 }\n'
    config = parse_config(f"{BASE}default_alarms = []\n{tags}{NOTIFIER}", source="x")
    found = all_alarms(config, [])
    assert set(found) == {"cost-center.tag-budget", "project.tag-budget"} | OWN
    rule = rule_of("x", found["cost-center.tag-budget"])
    assert (rule.tag, rule.key, rule.team, rule.bound) == ("cost center", "", "", 0.8)
    assert rule.notify == ("ops",)


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


@pytest.mark.parametrize(
    ("shadow", "words"),
    [
        ("{ sample = 0 }", "sample"),
        ("{ sample = 1.5 }", "sample"),
        ("{ per_minute = 0 }", "per_minute"),
        ('{ release = "nxt" }', 'there is no release "nxt"'),
        ("{ share = 0.1 }", '"share" is not a key'),
    ],
)
def test_wrong_shadows_are_refused(shadow: str, words: str) -> None:
    """Shares, bounds, and releases that are not there."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(f"{BASE}shadow = {shadow}\n", source="x")


@pytest.mark.parametrize(
    ("preview", "words"),
    [
        ("{}", "preview] names nobody"),
        ('{ users = [""] }', "preview.users has an empty name"),
        (f"{{ keys = {['k'] * 1001} }}", "preview.keys has 1001 names, of at most 1000"),
        ("{ users = [1] }", "users"),
        ('{ user = ["ada"] }', '"user" is not a key'),
    ],
)
def test_wrong_previews_are_refused(preview: str, words: str) -> None:
    """Nobody, too many, and names that are none."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(f"{BASE}preview = {preview}\n", source="x")


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("always = {}", "rollout.always] names nobody"),
        ("never = { tags = { plan = [] } }", "rollout.never] names nobody"),
        ('never = { users = [""] }', "rollout.never.users has an empty name"),
        ('always = { tags = { plan = ["a", ""] } }', "rollout.always.tags.plan has an empty name"),
        (f"always = {{ tags = {{ t = {['k'] * 1001} }} }}", "tags.t has 1001 names, of at most 1000"),
        ('always = { teams = ["staf"] }', 'there is no team "staf"'),
        ('always = { tags = { session_id = ["s"] } }', "is the session, no tag"),
        ('never = { user = ["ada"] }', '"user" is not a key'),
        ('always = { keys = ["a"] }, never = { keys = ["b", "a"] }', '"a" is in always too'),
    ],
)
def test_wrong_names_in_a_rollout_are_refused(named: str, words: str) -> None:
    """Nobody, too many, what no call can have, and who is in both."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_config(f"{BASE}rollout = {{ {named} }}\n", source="x")


def test_times_are_short_words() -> None:
    """A number and a unit; nothing else is guessed at."""
    assert [seconds(text) for text in ("30s", "5m", "2h", "1d")] == [30, 300, 7200, 86_400]
    assert [seconds(text) for text in ("", "5", "m", "5 m", "-5m", "1.5h", "5M")] == [None] * 7


@pytest.mark.parametrize(
    ("scorer", "more", "warned"),
    [
        ('"latency"', "", True),
        ('"slow=latency:2000"', "", True),
        ('{ kind = "latency", most_ms = 2000 }', "", True),
        ('"latency"', "above = 900", False),
        ('"latency:2000"', "below = 0.9", False),
        ('"exact"', "", False),
    ],
)
def test_times_of_two_days_are_warned_of(scorer: str, more: str, warned: bool) -> None:
    """A run that is held against a baseline answers on another day: what took longer may be the machine."""
    asked = f'eval = {{ dataset = "d", scorer = {scorer} }}'
    text = f'{BASE}[alarms.slow]\ndeployment = "support"\n{asked}\n{more}\n'
    said = warnings_of(parse_config(text, source="x"))
    assert [each.startswith("alarms.slow: times are held against") for each in said] == [True] * warned
