"""Where a plan sends calls, as its engines stand."""

from __future__ import annotations

import msgspec
import pytest

from airboss.domain.plan import Canary, DeploymentPlan, Preview, Served, ServingPlan, Target
from airboss.domain.ports import Placement
from airboss.domain.release import ModelVersion, Release
from airboss.replicas.swap import Engines, settle
from tests.replicas.placed import NOW, placement, rows, url, wanted

HOSTED = Target(provider="far", kind="openai", base_urls=("https://far/v1",), upstream_model="big")
LOCAL = Target(provider="here", kind="local", base_urls=("http://anywhere/v1",), upstream_model="m")
OLD, NEW = placement("m", slots=1), placement("m:2", slots=2)


def release(digest: str) -> Release:
    """A release of that digest."""
    version = ModelVersion(provider="here", kind="local", model="file:/m.gguf")
    return Release(digest=digest, name=digest, model=version)


def plan(digest: str, target: Target, canary: Canary | None = None) -> ServingPlan:
    """One deployment that serves this release there."""
    deployment = DeploymentPlan(
        name="d", aliases=(digest,), stable=release(digest), target=target, canary=canary
    )
    return ServingPlan(number=1, created_at=NOW, deployments=(deployment,))


def engines(*placements: Placement, **states: str) -> Engines:
    """Placed so, and standing so; two slots are what the configuration says."""
    return Engines([wanted(1)], placements, rows(**states))  # type: ignore[arg-type]  # names of states


def served(found: ServingPlan) -> tuple[str, tuple[str, ...]]:
    """The release that serves, and where."""
    (deployment,) = found.deployments
    return deployment.stable.digest, deployment.target.base_urls


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"m_2": "ready", "m_3": "starting"}, ["m:2"]),
        ({"m_2": "ready", "m_3": "ready"}, ["m:2", "m:3"]),
        ({"m_2": "starting", "m_3": "failed"}, ["m:2"]),
        ({}, ["m:2", "m:3"]),
        ({"m_2": "failed", "m_3": "ready"}, ["m:3"]),
    ],
)
def test_calls_go_to_what_is_ready(states: dict[str, str], expected: list[str]) -> None:
    """Or, where none is, to those that are coming: a call waits for them."""
    found = settle(plan("a", LOCAL), None, engines(NEW, placement("m:3"), **states))
    assert served(found) == ("a", tuple(map(url, expected)))
    assert found.deployments[0].target.down is None


def test_one_that_drains_gets_no_call() -> None:
    """It is ready, and left out."""
    found = settle(
        plan("a", LOCAL), None, engines(NEW, placement("m:3", drains_s=1), m_2="ready", m_3="ready")
    )
    assert served(found) == ("a", (url("m:2"),))


def test_what_has_failed_says_why() -> None:
    """Nobody has to wait for it."""
    (deployment,) = settle(plan("a", LOCAL), None, engines(NEW, m_2="failed")).deployments
    assert deployment.target.down == (
        "no engine of model 'm' runs: it broke; mend that and run `airboss apply` again"
    )


@pytest.mark.parametrize("state", ["stopped", "fetching", "starting", "backing_off", "failed"])
def test_the_old_one_serves_until_the_new_is_ready(state: str) -> None:
    """Release and target stay together, so that each answer names what made it; the rest of the new
    configuration is in force, and the new release waits among the others."""
    before = settle(plan("a", LOCAL), None, Engines([wanted(1, slots=1)], [OLD], rows(m="ready")))
    new = settle(plan("b", LOCAL), before, engines(OLD, NEW, m="ready", m_2=state))
    assert served(new) == ("a", (url("m"),))
    assert new.deployments[0].aliases == ("b",)
    assert [each.release.digest for each in new.others] == ["b"]
    after = settle(plan("b", LOCAL), new, engines(OLD, NEW, m="ready", m_2="ready"))
    assert served(after) == ("b", (url("m:2"),))
    assert after.others == ()


def test_several_new_ones_take_over_together() -> None:
    """The first of two would get the load of all; one that has failed is not waited for."""
    before = settle(plan("a", LOCAL), None, Engines([wanted(1, slots=1)], [OLD], rows(m="ready")))
    third = placement("m:3")
    waiting = settle(
        plan("a", LOCAL), before, engines(OLD, NEW, third, m="ready", m_2="ready", m_3="starting")
    )
    assert served(waiting) == ("a", (url("m"),))
    over = settle(plan("a", LOCAL), waiting, engines(OLD, NEW, third, m="ready", m_2="ready", m_3="failed"))
    assert served(over) == ("a", (url("m:2"),))


def test_an_old_one_that_is_dead_is_not_held_on_to() -> None:
    """Then the new one is the better hope."""
    before = settle(plan("a", LOCAL), None, Engines([wanted(1, slots=1)], [OLD], rows(m="ready")))
    found = settle(plan("b", LOCAL), before, engines(OLD, NEW, m="failed", m_2="starting"))
    assert served(found) == ("b", (url("m:2"),))


def test_a_provider_serves_until_the_engine_is_ready() -> None:
    """From hosted to local calls move when that can answer; from local to hosted at once."""
    hosted = plan("a", HOSTED)
    waiting = settle(plan("b", LOCAL), hosted, engines(NEW, m_2="starting"))
    assert served(waiting) == ("a", HOSTED.base_urls)
    local = settle(plan("b", LOCAL), waiting, engines(NEW, m_2="ready"))
    assert served(local) == ("b", (url("m:2"),))
    assert served(settle(plan("a", HOSTED), local, engines(NEW, m_2="ready"))) == ("a", HOSTED.base_urls)


def test_a_canary_is_shown_once_its_engine_is_ready() -> None:
    """Until then nobody is sent to it; once shown it stays, so that its failures are seen."""
    canary = Canary(rollout="r", served=Served(release=release("b"), target=LOCAL), weight=0.5, salt="s")
    asked = plan("a", HOSTED, canary)
    hidden = settle(asked, None, engines(NEW, m_2="starting"))
    assert hidden.deployments[0].canary is None
    assert [each.release.digest for each in hidden.others] == ["b"]
    shown = settle(asked, hidden, engines(NEW, m_2="ready"))
    assert shown.deployments[0].canary is not None
    assert shown.deployments[0].canary.served.target.base_urls == (url("m:2"),)
    assert settle(asked, shown, engines(NEW, m_2="backing_off")).deployments[0].canary is not None


def test_a_preview_waits_for_its_engine_and_is_pointed_to_it() -> None:
    """As a canary does: who is named has stable until then, and is never sent to what only starts. What is
    asked again beside it goes where it is ready too."""
    preview = Preview(served=Served(release=release("b"), target=LOCAL), users=("ada",), keys=())
    (deployment,) = plan("a", HOSTED).deployments
    asked = msgspec.structs.replace(
        plan("a", HOSTED),
        deployments=(msgspec.structs.replace(deployment, preview=preview, shadow=preview.served),),
    )
    hidden = settle(asked, None, engines(NEW, m_2="starting"))
    assert hidden.deployments[0].preview is None
    shown = settle(asked, hidden, engines(NEW, m_2="ready")).deployments[0]
    assert shown.preview is not None
    assert shown.preview.served.target.base_urls == (url("m:2"),)
    assert shown.shadow == shown.preview.served
    again = settle(asked, settle(asked, None, engines(NEW, m_2="ready")), engines(NEW, m_2="failed"))
    assert again.deployments[0].preview is not None
    assert again.deployments[0].preview.served.target.down is not None


def test_what_is_hosted_is_left_alone() -> None:
    """Only local targets are pointed anywhere."""
    assert settle(plan("a", HOSTED), None, engines()) == plan("a", HOSTED)
