"""Ready-made pieces of a configuration: each is valid where it is put, and says what it is for."""

from __future__ import annotations

import pytest

from airboss.config import Config, parse_config
from airboss.console.snippets import Snippet, added, snippets
from airboss.controller.starter import starter_config
from airboss.domain.errors import ConfigError
from tests.support.seed_loop import CONFIG

TEXTS = {
    "starter": starter_config(openai_key_present=False),
    "starter with OpenAI": starter_config(openai_key_present=True),
    "a whole one": CONFIG,
    "quoted names": CONFIG.replace("[deployments.support", '[deployments."support')
    .replace("support]", 'support"]')
    .replace("support.rollout]", 'support".rollout]')
    .replace('[releases.support"]', "[releases.support]"),
}
NAMES = ("provider", "notifier", "alarm", "judge", "budget", "team", "fallback", "policy", "words", "rollout")


def piece(text: str, name: str) -> Snippet:
    """One of those for a text."""
    return next(each for each in snippets(parse_config(text, source="it")) if each.name == name)


def has(config: Config, name: str) -> bool:
    """Whether a configuration has what a piece is for."""
    return {
        "provider": any(each.models for each in config.providers.values()),
        "notifier": any(str(each.webhook).endswith("/airboss") for each in config.notifiers.values()),
        "alarm": any(each.metric == "latency_p95" and each.above == 5000 for each in config.alarms.values()),
        "judge": any(each.scoring is not None for each in config.deployments.values()),
        "budget": any(each.budget is not None for each in config.keys.values()),
        "team": any(each.team is not None for each in config.keys.values()),
        "fallback": any(each.fallbacks for each in config.releases.values()),
        "policy": any(each.policy is not None for each in config.deployments.values()),
        "words": any(
            each.policy is not None and config.policies[each.policy].custom.keys() == {"codename", "employee"}
            for each in config.deployments.values()
        ),
        "rollout": any(
            each.rollout is not None and each.rollout.steps == (5, 25, 50)
            for each in config.deployments.values()
        ),
    }[name]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("name", NAMES)
def test_each_piece_is_valid_and_does_what_it_says(text: str, name: str) -> None:
    """Put into a text, which keeps every line of its own but the model that becomes a release's."""
    before = parse_config(text, source="it")
    assert not has(before, name)
    whole = added(text, piece(text, name))
    assert has(parse_config(whole, source="it"), name)
    kept = whole.split("\n")
    lost = [line for line in text.split("\n") if line not in kept]
    assert lost in ([], ['model = "smollm2"'], ['model = "small"'])


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_all_pieces_go_together(text: str) -> None:
    """One after the other, in either order, and an alarm twice: it gets another name."""
    for order in (NAMES, NAMES[::-1]):
        whole = text
        for name in order:
            whole = added(whole, piece(whole, name))
            parse_config(whole, source="it")
        assert all(has(parse_config(whole, source="it"), name) for name in NAMES)
    alarms = parse_config(added(whole, piece(whole, "alarm")), source="it").alarms
    assert len(alarms) == len(parse_config(text, source="it").alarms) + 2


def test_a_piece_alone_is_toml_of_a_few_lines() -> None:
    """It can be copied: to the end of a text, or below the head that is there."""
    for name in NAMES:
        found = piece(TEXTS["starter"], name)
        assert found.text.startswith("[")
        assert 2 <= sum(len(lines) + 1 for _, lines in found.parts) <= 11, name
    assert snippets(Config()) == ()


def test_what_is_there_already_is_told_and_not_replaced() -> None:
    """A text that changed since the piece was made of it: parsing names the line."""
    judge = piece(TEXTS["starter"], "judge")
    once = added(TEXTS["starter"], judge)
    with pytest.raises(ConfigError, match=r"it:\d+: this is not TOML"):
        parse_config(added(once, judge), source="it")
    assert added("= no TOML", judge).startswith("= no TOML\n")


def test_a_head_within_a_prompt_is_no_head() -> None:
    """Lines go below the table's own head, wherever the same words stand."""
    prompt = '[releases.r]\nmodel = "smollm2"\nprompt = """\n[deployments.assistant]\n"""\n\n'
    whole = added(prompt + TEXTS["starter"], piece(TEXTS["starter"], "rollout"))
    found = parse_config(whole, source="it")
    assert found.releases["r"].prompt == "[deployments.assistant]\n"
    assert found.deployments["assistant"].rollout is not None
