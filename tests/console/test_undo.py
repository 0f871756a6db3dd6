"""A promotion taken back, on the deployment's page and in the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.console.looped import LoopSite
from tests.console.test_pages import shown
from tests.support.seed_loop import CONFIG, NEW_PROMPT, OLD_PROMPT


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """An Airboss whose second release somebody promoted."""
    loop = fresh.loop
    loop.apply(OLD_PROMPT)
    loop.apply(NEW_PROMPT)
    loop.start()
    order = {"deployment": "support", "action": "promote", "reason": "looks good"}
    assert fresh.program().post("/api/v1/rollouts/order", json=order).status_code == 200
    assert prompt(fresh) == NEW_PROMPT
    return fresh


def prompt(site: LoopSite) -> str | None:
    """Of what is stable."""
    return next(each.stable.prompt for each in site.loop.plan().deployments if each.name == "support")


def stable(site: LoopSite) -> str:
    """Its digest."""
    return site.loop.ledger.standings()["support"].stable


def test_a_promotion_is_taken_back_on_its_page(site: LoopSite) -> None:
    """What will happen is told first; it is done with a reason, and the history says so."""
    person = site.person()
    page = shown(person, "/deployments/support")
    for words in ("Take the promotion back", "serves everybody again within", "in place of"):
        assert words in page.text
    said = {"stable": stable(site), "reason": "answers are too short"}
    answer = person.post(
        "/deployments/support/rollout/undo", data=said, headers={"origin": "http://testserver"}
    )
    assert answer.status_code == 303, answer.text
    assert prompt(site) == OLD_PROMPT
    page = shown(person, "/deployments/support")
    assert "what followed was undone" in page.text
    assert "Take the promotion back" not in page.text, "there is nothing before it"
    (leaf,) = [each for each in site.audit.entries if each[0] == "rollout.undo"]
    assert leaf[3]["undone"] == said["stable"]
    assert leaf[3]["reason"] == "answers are too short"


def test_the_page_of_a_rollout_has_what_can_be_done_about_it(fresh: LoopSite) -> None:
    """While it runs, and once it is promoted for as long as its release is stable; for who may look there is
    nothing to press."""
    fresh.loop.apply(OLD_PROMPT)
    fresh.loop.apply(NEW_PROMPT)
    path = f"/rollouts/{fresh.loop.start().id}"
    person = fresh.person()

    def forms(who: Any) -> set[str]:
        return {
            str(each.get("action")).rpartition("/rollout/")[2]
            for tag, each in shown(who, path).tags
            if tag == "form" and "/rollout/" in str(each.get("action"))
        }

    assert forms(person) == {"pause", "promote", "abort"}
    assert forms(fresh.person("viewer")) == set()
    order = {"deployment": "support", "action": "promote", "reason": "looks good"}
    assert fresh.program().post("/api/v1/rollouts/order", json=order).status_code == 200
    assert forms(person) == {"undo"}
    undo = {"deployment": "support", "reason": "no"}
    assert fresh.program().post("/api/v1/rollouts/undo", json=undo).status_code == 200
    assert forms(person) == set()


def test_another_promotion_than_the_page_showed_is_left_alone(site: LoopSite) -> None:
    """Somebody else was quicker."""
    was = stable(site)
    undo: dict[str, Any] = {"deployment": "support", "stable": was}
    done = site.program("operator").post("/api/v1/rollouts/undo", json=undo)
    assert done.status_code == 200, done.text
    assert (done.json()["undone"], done.json()["stable"]) == (was, stable(site))
    site.loop.apply(NEW_PROMPT)
    assert prompt(site) == OLD_PROMPT, "what was undone is a candidate like any other"
    site.loop.start()
    order = {"deployment": "support", "action": "promote"}
    assert site.program().post("/api/v1/rollouts/order", json=order).status_code == 200
    late = site.program().post("/api/v1/rollouts/undo", json=undo | {"stable": "0" * 64})
    assert late.status_code == 400
    assert "is not stable in 'support' any more" in late.json()["error"]["message"]
    assert prompt(site) == NEW_PROMPT


def test_it_waits_for_nobody(site: LoopSite) -> None:
    """Where changes wait for somebody else's approval, what must not wait does not."""
    site.loop.apply(NEW_PROMPT, text=CONFIG + "\n[approvals]\nrequired = true\n")
    undo = {"deployment": "support", "reason": "now"}
    done = site.program("operator").post("/api/v1/rollouts/undo", json=undo)
    assert done.status_code == 200, done.text
    assert prompt(site) == OLD_PROMPT
    nothing = site.program("operator").post("/api/v1/rollouts/undo", json=undo)
    assert nothing.status_code == 400
    assert "nothing to undo" in nothing.json()["error"]["message"]


def test_what_binds_calls_less_is_an_admins_to_bring_back(fresh: LoopSite) -> None:
    """An operator takes no policy off what is called, by this neither."""
    policy = '\n[policies.strict]\npii = { action = "mask", kinds = ["email"] }\n'
    bound = CONFIG.replace("params = { temperature", 'policy = "strict"\nparams = { temperature') + policy
    fresh.loop.apply(OLD_PROMPT, text=CONFIG + policy)
    fresh.loop.apply(NEW_PROMPT, text=bound)
    fresh.loop.start()
    order = {"deployment": "support", "action": "promote"}
    assert fresh.program().post("/api/v1/rollouts/order", json=order).status_code == 200
    undo = {"deployment": "support"}
    refused = fresh.program("operator").post("/api/v1/rollouts/undo", json=undo)
    assert refused.status_code == 403, refused.text
    assert prompt(fresh) == NEW_PROMPT
    assert fresh.program("admin").post("/api/v1/rollouts/undo", json=undo).status_code == 200
    assert prompt(fresh) == OLD_PROMPT
