"""Whom a deployment names, as a gateway knows them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from airboss.domain.plan import Canary, Named, Served
from airboss.domain.ports import ApiKey, Snapshot
from airboss.gateway.serving import apart_of
from tests.store.ledgers import plan
from tests.support.gateway import deployment

KEY = ApiKey(name="desk", sha256="", created_at=datetime(2026, 12, 1, tzinfo=UTC), team="staff")
NAMED = Named(teams=("staff",), tags={"plan": ("beta",)})


@pytest.mark.parametrize(("weight", "arms"), [(0.0, []), (0.05, ["never", "always"])])
def test_nobody_is_apart_before_the_gate_has_passed(weight: float, arms: list[str]) -> None:
    """Until then the canary has a weight of 0, and is nobody's; then never goes before always."""
    plain = deployment("http://127.0.0.1:9/v1")
    served = Served(release=plain.stable, target=plain.target)
    canary = Canary(rollout="r", served=served, weight=weight, salt="s")
    told = msgspec.structs.replace(plain, canary=canary, always=NAMED, never=NAMED)
    found = apart_of(Snapshot(revision=1, plan=plan(told), keys=(KEY,)))
    apart = found.get(plain.name, ())
    assert [each.branch.arm for each in apart] == arms
    for each in apart:
        assert (each.keys, each.tags) == ({"desk"}, (("plan", frozenset({"beta"})),))
