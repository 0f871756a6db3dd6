"""A spread as a release: what its digest covers, where it is reached, and how it is said again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airboss.config import parse_config
from airboss.config.edit import with_model
from airboss.console.changes import difference
from airboss.controller.saying import saying
from airboss.domain.plan import ServingPlan
from airboss.domain.release import ModelVersion
from airboss.releases.build import Catalog, build_plan, build_releases
from airboss.releases.said import as_config, missing_spread
from airboss.releases.sharing import said_of, sharing
from airboss.releases.variant import Variant, reached, varied
from tests.config.test_spreads import WHOLE

SAID = (
    WHOLE.replace('[models.own]\nprovider = "here"\nmodel = "file:/m.gguf"\n', "")
    + '[models.spare]\nprovider = "azure"\nmodel = "gpt-4o-mini"\n'
    + '[releases.r]\nmodel = "chat"\nprompt = "Hi."\nfallbacks = ["spare"]\n[deployments.r]\nrelease = "r"\n'
)


def built(text: str) -> tuple[Catalog, ServingPlan]:
    """The releases and the plan of a configuration."""
    config = parse_config(text, source="t")
    catalog = build_releases(config, engine_version="")
    stable = {name: catalog.wanted(config, name) for name in config.deployments}
    made: dict[str, Any] = {"replica_urls": {}, "tools": {}, "exposed": {}, "now": datetime.now(UTC)}
    return catalog, build_plan(config, catalog, stable=stable, **made)


def digest(text: str) -> str:
    """The digest of the deployment's release."""
    return built(text)[0].bare["chat"].digest


def test_the_digest_covers_models_and_shares() -> None:
    """One mix is one release however it is written, and another mix another one."""
    first = digest(SAID)
    assert digest(SAID.replace("{ a = 1, b = 3 }", "{ b = 6, a = 2 }")) == first
    assert digest(SAID.replace("{ a = 1, b = 3 }", "{ b = 0.75, a = 0.25 }")) == first
    others = [
        SAID.replace("{ a = 1, b = 3 }", "{ a = 3, b = 1 }"),
        SAID.replace("{ a = 1, b = 3 }", "{ a = 1, b = 2 }"),
        SAID.replace("{ a = 1, b = 3 }", "{ a = 1, spare = 3 }").replace('fallbacks = ["spare"]', ""),
    ]
    assert len({first, *map(digest, others)}) == 4


def test_a_spread_is_reached_at_each_of_its_models() -> None:
    """An earlier gateway, which knows no shares, asks the greatest and has the others as fallbacks."""
    _, plan = built(SAID)
    bare, named = (next(each for each in plan.deployments if each.name == name) for name in ("chat", "r"))
    assert [each.upstream_model for each in sharing(bare.target)] == ["sonnet", "gpt-4o"]
    assert (bare.target.shares, bare.target.provider) == ((0.75, 0.25), "claude")
    assert [each.upstream_model for each in named.target.fallbacks] == ["gpt-4o", "gpt-4o-mini"]
    assert [each.provider for each in plan.targets()].count("azure") >= 2
    assert said_of(bare.stable) == ("sonnet (75 %), gpt-4o (25 %)", "claude, azure")


def test_models_that_are_called_alike_are_told_apart() -> None:
    """As OpenAI's and Azure's of one name: who has which part of the calls is told."""
    _, plan = built(SAID.replace('model = "sonnet"', 'model = "gpt-4o"'))
    bare = next(each for each in plan.deployments if each.name == "chat")
    assert said_of(bare.stable) == ("claude/gpt-4o (75 %), azure/gpt-4o (25 %)", "claude, azure")


def test_a_plan_goes_on_with_shares_that_are_not_said_any_more() -> None:
    """What a deployment serves stands in the ledger; its models are found by what they are."""
    catalog, before = built(SAID)
    now = parse_config(SAID.replace("{ a = 1, b = 3 }", "{ a = 1, b = 1 }"), source="t")
    stable = dict.fromkeys(now.deployments, catalog.bare["chat"])
    made: dict[str, Any] = {"replica_urls": {}, "tools": {}, "exposed": {}, "now": datetime.now(UTC)}
    plan = build_plan(now, build_releases(now, engine_version=""), stable=stable, before=before, **made)
    assert plan.deployments[0].target == before.deployments[0].target


@pytest.mark.parametrize("name", ["chat", "r"])
def test_a_release_of_a_spread_is_said_again(name: str) -> None:
    """By the name of the spread, with its fallbacks alone; where the shares have changed, with a new one."""
    catalog, _ = built(SAID)
    release = catalog.bare[name] if name == "chat" else catalog.named[name]
    said = as_config(catalog, release)
    assert (said.model, said.fallbacks) == ("chat", () if name == "chat" else ("spare",))
    assert missing_spread(catalog, release) is None
    changed = SAID.replace("{ a = 1, b = 3 }", "{ a = 1, b = 1 }")
    config = parse_config(changed, source="t")
    text = saying(changed, config, name, release, engine_version="")
    again = parse_config(text, source="t")
    assert build_releases(again, engine_version="").wanted(again, name).digest == release.digest
    assert again.models["chat"].shares == {"a": 1, "b": 1}


def test_shares_of_thirds_are_written_down_and_read_to_the_last_digit() -> None:
    """Else an undo would serve another release than the one that was stable."""
    for shares in ("{ a = 1, b = 2 }", "{ a = 1, b = 1, spare = 1 }", "{ a = 7, b = 11, spare = 13 }"):
        text = SAID.replace("{ a = 1, b = 3 }", shares).replace('fallbacks = ["spare"]\n', "")
        catalog, _ = built(text)
        other = built(text.replace(shares, "{ a = 1, b = 9 }"))[0]
        found = missing_spread(other, catalog.bare["chat"])
        assert found is not None
        whole = with_model(text.replace(shares, "{ a = 1, b = 9 }"), *found)
        assert built(whole)[0].bare[found[0]].digest == catalog.bare["chat"].digest


def test_a_variant_with_a_model_is_tried_alone() -> None:
    """What tuning tries is one model; another prompt is tried of the whole mix."""
    catalog, plan = built(SAID)
    target = next(each for each in plan.deployments if each.name == "r").target
    release = catalog.named["r"]
    prompt = Variant(prompt="Ho.")
    assert (varied(release, prompt).shares, reached(target, prompt)) == ((0.75, 0.25), target)
    tried = Variant(model=ModelVersion(provider="claude", kind="anthropic", model="ft"))
    found, there = varied(release, tried), reached(target, tried)
    assert (found.shares, [each.model for each in found.fallbacks]) == ((), ["gpt-4o-mini"])
    assert (there.shares, [each.upstream_model for each in there.fallbacks]) == ((), ["gpt-4o-mini"])


def test_a_difference_says_what_was_written() -> None:
    """Weights as they stand in both files, and nothing of what a spread is read as."""
    after = SAID.replace("{ a = 1, b = 3 }", "{ a = 5, b = 3 }").replace('model = "sonnet"', 'model = "opus"')
    found = difference(SAID, after, source="t")
    assert [(each.path, each.before, each.after) for each in found.changes] == [
        ("models.b.model", "sonnet", "opus"),
        ("models.chat.shares.a", 1.0, 5.0),
    ]
