"""What is shown of models that share a deployment's calls: how it stands, who is asked, and at what price."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airboss.console.api_keys import unpriced
from airboss.console.views_providers import shown
from airboss.controller.status import deployment_status
from airboss.domain.plan import Budget, DeploymentPlan, ServingPlan
from airboss.domain.ports import ApiKey
from airboss.releases.sharing import sharing
from airboss.telemetry.metrics import shown_places
from tests.gateway.limited import START
from tests.releases.test_spread import SAID, built


def plan_of(text: str = SAID) -> ServingPlan:
    """The plan of a configuration with a spread."""
    return built(text)[1]


def deployment(name: str = "chat", text: str = SAID) -> DeploymentPlan:
    """One deployment of it."""
    return next(each for each in plan_of(text).deployments if each.name == name)


def test_a_deployment_says_who_shares_its_calls() -> None:
    """It is ready as long as one of them is, and says which is not."""
    chat = deployment()
    (claude, azure) = sharing(chat.target)
    found = deployment_status(chat, [])
    assert (found.model, found.provider) == ("sonnet (75 %), gpt-4o (25 %)", "claude, azure")
    assert (found.state, found.detail) == ("ready", None)
    for out, other in ((claude, "azure/gpt-4o"), (azure, "claude/sonnet")):
        found = deployment_status(chat, [], shut=dict.fromkeys(shown_places(out), "timeout"))
        assert found.state == "ready"
        assert (found.detail or "").startswith(f"{out.provider}/{out.upstream_model}: its breaker has opened")
        assert (found.detail or "").endswith(f"; {other} answers instead")
    both = dict.fromkeys((*shown_places(claude), *shown_places(azure)), "timeout")
    assert deployment_status(chat, [], shut=both).state == "down"
    assert deployment_status(deployment("r"), [], shut=both).state == "ready", "its fallback answers"


@pytest.mark.parametrize(("missing", "state"), [(["no A"], "ready"), (["no A", "no C"], "down")])
def test_a_key_that_is_missing_takes_one_of_them_away(missing: list[str], state: str) -> None:
    """Only where none has its key is nobody asked."""
    found = deployment_status(deployment(), [], missing=missing)
    assert (found.state, found.detail) == (state, "no A")


def test_providers_are_shown_with_their_part() -> None:
    """Each model says whose calls it shares, and of whom it is a fallback; a test asks it alone."""
    found = {each.target.upstream_model: each for each in shown(plan_of(), [])}
    assert found["sonnet"].roles == ("chat (75 %)", "r (75 %)")
    assert found["gpt-4o"].roles == ("chat (25 %)", "r (25 %)")
    assert found["gpt-4o-mini"].roles == ("fallback of r",)
    asked = {name: each.asked_by.name for name, each in found.items() if each.asked_by is not None}
    assert asked == {"sonnet": "b", "gpt-4o": "a", "gpt-4o-mini": "spare"}


def test_a_budget_wants_the_price_of_each() -> None:
    """Whose key has a budget is told, before programs are, where one of them has none."""
    key = ApiKey(name="k", sha256="0", created_at=START, budget=Budget(usd=Decimal(1)))
    price = "price = { input_usd_per_mtok = 1, output_usd_per_mtok = 2 }"
    one = SAID.replace('model = "gpt-4o"\n', f'model = "gpt-4o"\n{price}\n')
    both = one.replace('model = "sonnet"\n', f'model = "sonnet"\n{price}\n')
    assert [unpriced(key, plan_of(text)) for text in (SAID, one, both)] == [("chat", "r"), ("chat", "r"), ()]
