"""Which engines shall run."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from airboss.config import ModelConfig, ReplicaRange, parse_config
from airboss.domain.plan import DeploymentPlan, Price, ServingPlan, Target
from airboss.domain.ports import Placement
from airboss.domain.release import ModelVersion, Release
from airboss.replicas.placing import Step, finish, place, read_settings, retire, want, wants
from tests.replicas.placed import NOW, placement, rows, url, wanted


def placed(count: int, there: Iterable[Placement], *, retry: bool = False, **states: str) -> Step:
    """Place so many of `m`."""
    found = rows(**states)  # type: ignore[arg-type]  # names of states
    return place([wanted(count)], tuple(there), found, new_url=url, now=NOW, retry=retry)


def ids(step: Step, *, draining: bool = False) -> list[str]:
    """The engines after a step that serve, or those that drain."""
    return [each.id for each in step.placements if (each.draining_since is not None) == draining]


def plan_at(target: Target) -> ServingPlan:
    """A plan with one deployment, at that target."""
    version = ModelVersion(provider="here", kind="local", model="file:/m.gguf")
    release = Release(digest="d", name="m", model=version)
    deployment = DeploymentPlan(name="d", aliases=(), stable=release, target=target)
    return ServingPlan(number=1, created_at=NOW, deployments=(deployment,))


def target(engine: Placement) -> Target:
    """The target of an engine."""
    return Target(
        provider="here", kind="local", base_urls=(engine.url,), upstream_model="m", engine=engine.engine
    )


def test_missing_ones_are_placed() -> None:
    """Each gets the first name that is free, and a URL; nothing else changes."""
    step = placed(2, [])
    assert [(each.id, each.url) for each in step.put] == [("m", url("m")), ("m:2", url("m:2"))]
    assert step.drop == ()
    assert placed(2, step.placements) == Step(placements=step.placements)


def test_a_name_is_not_used_twice() -> None:
    """Neither one that drains nor one whose process is just ending gives its name to a new engine."""
    step = placed(2, [placement("m:2", drains_s=1)], m="stopped", m_2="starting")
    assert ids(step) == ["m:3", "m:4"]


def test_surplus_ones_drain() -> None:
    """Those that are not ready go first, then the youngest."""
    there = [placement("m", age_s=90), placement("m:2", age_s=50), placement("m:3", age_s=70)]
    step = placed(2, there, m="ready", m_2="ready", m_3="ready")
    assert (ids(step), ids(step, draining=True)) == (["m", "m:3"], ["m:2"])
    step = placed(1, there, m="backing_off", m_2="ready", m_3="starting")
    assert (ids(step), ids(step, draining=True)) == (["m:2"], ["m", "m:3"])


def test_one_that_drains_is_taken_back() -> None:
    """When more are wanted again, a ready one is there at once; a new one would have to load."""
    step = placed(2, [placement("m"), placement("m:2", drains_s=5)], m="ready", m_2="ready")
    assert ids(step) == ["m", "m:2"]
    assert step.put[0].url == url("m:2")


def test_failed_ones_count_until_somebody_applies() -> None:
    """Nothing is tried for ever; `retry` drops what failed and places it anew."""
    there = [placement("m"), placement("m:2")]
    assert placed(2, there, m="ready", m_2="failed") == Step(placements=tuple(there))
    step = placed(2, there, m="ready", m_2="failed", retry=True)
    assert (ids(step), step.drop) == (["m", "m:3"], ("m:2",))


def test_another_engine_stands_beside_the_old() -> None:
    """Other settings are another engine; the old one stays where it is, and drains once no plan needs it."""
    old = placement("m", slots=1)
    step = placed(1, [old], m="ready")
    assert ids(step) == ["m", "m:2"]
    kept = retire([wanted(1)], step.placements, rows(m="ready"), plan=plan_at(target(old)), now=NOW)
    assert kept == Step(placements=step.placements)
    after = retire([wanted(1)], step.placements, rows(m="ready"), plan=plan_at(target(step.put[0])), now=NOW)
    assert (ids(after), ids(after, draining=True)) == (["m:2"], ["m"])
    failed = retire([wanted(1)], step.placements, rows(m="failed"), plan=None, now=NOW)
    assert failed.drop == ("m",)


@pytest.mark.parametrize(
    ("drains_s", "outstanding", "state", "gone"),
    [
        (1.0, {}, "ready", False),
        (3.0, {}, "ready", True),
        (3.0, {url("m"): 1}, "ready", False),
        (3.0, None, "ready", False),
        (3.0, {url("m"): 1}, "backing_off", True),
        (61.0, {url("m"): 1}, "ready", True),
        (61.0, None, "ready", True),
    ],
)
def test_a_drained_engine_stops(
    drains_s: float, outstanding: dict[str, int] | None, state: str, gone: bool
) -> None:
    """When nothing is outstanding, and gateways have had time to see the new plan; not while that is unknown;
    in any case when the bound is over. One that does not run has nothing to finish."""
    there = [placement("m", drains_s=drains_s), placement("m:2")]
    found = rows(m=state, m_2="ready")  # type: ignore[arg-type]  # a state
    step = finish(there, found, outstanding=outstanding, now=NOW, drain_s=60)
    assert step.drop == (("m",) if gone else ())


def test_settings_are_what_starts_an_engine() -> None:
    """Price and number of replicas are no part of it; what was not set is left out, so that a setting of a
    later version changes no engine."""
    said = ModelConfig(provider="here", model="file:/m.gguf", slots=3)
    price = Price(input_usd_per_mtok=1, output_usd_per_mtok=2)  # type: ignore[arg-type]  # numbers will do
    more = msgspec.structs.replace(said, price=price, replicas=ReplicaRange(max=4))
    assert want("m", more, 1) == want("m", said, 1)
    assert want("m", said, 1).settings == '{"model":"file:/m.gguf","provider":"here","slots":3}'
    assert read_settings(placement("m", slots=3).settings) == said


def test_how_many_are_wanted() -> None:
    """What was decided, within what the configuration allows; its least where nothing was."""
    text = '[providers.l]\nkind = "local"\n'
    for name, given in (("a", "min = 2, max = 4"), ("b", "max = 2"), ("c", "min = 3, max = 3")):
        text += f'[models.{name}]\nprovider = "l"\nmodel = "file:/{name}"\nreplicas = {{ {given} }}\n'
    found = wants(parse_config(text, source="t"), ["a", "b", "c"], {"a": 3, "b": 9})
    assert [(each.model, each.count) for each in found] == [("a", 3), ("b", 2), ("c", 3)]
