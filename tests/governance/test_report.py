"""What is said of each clause follows from the facts, and never more than that."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from airboss.config import parse_config
from airboss.domain.plan import Budget, Canary, DeploymentPlan, Limits, Served, ServingPlan, Target
from airboss.domain.ports import ApiKey
from airboss.domain.release import ModelVersion, Policy, Release
from airboss.governance.audit_verify import Verdict
from airboss.governance.policies import policy_of
from airboss.governance.report import Entries, Facts, ProbeFact, Row, rows

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SERVED = """
[providers.up]
kind = "openai"

[models.m]
provider = "up"
model = "m"

[deployments.a]
model = "m"
"""
MADE = datetime(2026, 11, 1, tzinfo=UTC)


def served(name: str, policy: Policy | None = None, *releases: Policy | None) -> DeploymentPlan:
    """A deployment under a policy of its own, whose stable release and canary have these."""
    target = Target(provider="up", kind="openai", base_urls=("https://up.example/v1",), upstream_model="m")
    model = ModelVersion(provider="up", kind="openai", model="m")
    stable, *more = [
        Release(digest=f"{n}", name="r", model=model, policy=p) for n, p in enumerate(releases or (None,))
    ]
    canary = (
        Canary(rollout="r", served=Served(release=more[0], target=target), weight=0.5, salt="")
        if more
        else None
    )
    return DeploymentPlan(name=name, aliases=(), stable=stable, target=target, canary=canary, policy=policy)


def plan(*deployments: DeploymentPlan) -> ServingPlan:
    """A plan of these."""
    return ServingPlan(number=1, created_at=MADE, deployments=deployments)


def key(name: str, **given: Any) -> ApiKey:
    """A key that is in force."""
    return ApiKey(name=name, sha256=name, created_at=MADE, **given)


NOTHING = Facts(
    since=NOW,
    until=NOW,
    config=parse_config("", source=""),
    plan=None,
    audit=Verdict(valid=True, checked=0, erased=0, public_key=""),
    entries={},
    records=0,
    dead_letters=0,
    keys=(),
    rollouts={},
    probes=(),
    evaluations=0,
    alarms={},
    erasures_done=0,
    erasures_pending=0,
)


def said(**facts: Any) -> dict[str, Row]:
    """The rows by source and clause."""
    made = rows(msgspec.structs.replace(NOTHING, **facts))
    return {f"{row.source} {row.clause}": row for row in made}


def test_without_facts_there_is_no_evidence() -> None:
    """Nothing is evidenced by nothing, but for records that are kept for good; each row says why."""
    found = said()
    shown = {name for name, row in found.items() if row.state == "evidenced"}
    assert shown == {"AI Act Art. 19, 26(6)"}
    assert all(row.note for name, row in found.items() if name not in shown)
    assert not any("compl" in str(msgspec.to_builtins(row)) for row in found.values())


def test_each_fact_is_evidence_of_its_clause() -> None:
    """With the leaves of the audit log that show it."""
    found = said(
        plan=plan(served("a", policy_of("block", ("email",))), served("b")),
        audit=Verdict(valid=True, checked=9, erased=0, root="ab", public_key=""),
        entries={"verdict": Entries(count=2, first=3, last=8)},
        records=1234,
        rollouts={"aborted": 1},
        probes=(ProbeFact(id="probe-1", deployment="a", at=NOW, conclusion="nothing shown"),),
        alarms={"errors": "firing"},
        erasures_done=2,
        erasures_pending=1,
    )
    assert "1,234 calls" in found["AI Act Art. 12(1)-(2)"].evidence[0].what
    assert found["NIST AI 600-1 MS-2.8-003"].evidence[0].leaves == (0, 8)
    oversight = found["AI Act Art. 26(2), (5)"]
    assert [each.leaves for each in oversight.evidence] == [None, (3, 8)]
    assert "nothing shown" in found["NIST AI 600-1 MS-2.11-001, -002"].evidence[0].what
    assert "1 firing" in found["AI Act Art. 72"].evidence[0].what
    assert found["GDPR Art. 17"].note == "1 pending"
    assert found["GDPR Art. 17"].evidence[0].what.startswith("2 people forgotten")
    assert said(erasures_done=1)["GDPR Art. 17"].evidence[0].what.startswith("1 person forgotten")
    screened = found["OWASP LLM 2026 02"]
    assert (screened.state, screened.note) == ("evidenced", "without a policy: b")


def test_a_promotion_taken_back_is_oversight() -> None:
    """Somebody decided what is served, as by an order to a rollout."""
    found = said(entries={"rollout.undo": Entries(count=1, first=5, last=5)})
    (one,) = found["AI Act Art. 26(2), (5)"].evidence
    assert (one.what, one.leaves) == ("rollout.undo, once", (5, 5))


def test_what_is_wrong_is_no_evidence() -> None:
    """A log that does not verify, records that go too soon, a store that is away."""
    broken = Verdict(valid=False, checked=3, erased=0, public_key="", leaf=2, problem="leaf 2 was changed")
    brief = parse_config("[store]\nretention = { bodies_days = 7, records_days = 30 }\n", source="")
    found = said(audit=broken, config=brief, records=None)
    assert found["NIST AI 600-1 MS-2.8-003"].state == "not evidenced"
    assert found["NIST AI 600-1 MS-2.8-003"].note == "leaf 2 was changed"
    assert found["AI Act Art. 19, 26(6)"].state == "not evidenced"
    assert found["AI Act Art. 12(1)-(2)"].state == "not evidenced"
    assert found["GDPR Art. 5(1)(e)"].state == "evidenced"


def test_a_policy_of_what_answers_is_one_of_the_deployment() -> None:
    """Its release's own counts, the stricter for each kind; while a canary answers too, what both do does."""
    mask, block = policy_of("mask", ("email", "card")), policy_of("block", ("card",))

    def screened(deployment: DeploymentPlan) -> Row:
        return said(plan=plan(deployment))["GDPR Art. 25, 32"]

    assert screened(served("a", block, mask)).evidence[0].what == (
        "deployment a is under a policy (mask email; block card)"
    )
    assert screened(served("a", None, mask, block)).evidence[0].what == (
        "deployment a is under a policy (mask card)"
    )
    assert screened(served("a", None, mask, None)).state == "not evidenced"


def test_policies_of_keys_are_evidence() -> None:
    """With whose calls they bind; a policy that no key in force names is none."""
    policies = {"strict": policy_of("block", ("card",)), "spare": policy_of("mask", None)}
    made = msgspec.structs.replace(plan(served("a")), policies=policies)
    many = [key(f"k{number:02}", policies=("strict",)) for number in range(22)]
    row = said(plan=made, keys=(key("free"), *many[:2]))["GDPR Art. 25, 32"]
    assert [each.what for each in row.evidence] == [
        "calls with these keys are under policy strict (block card), whatever they call: k00, k01"
    ]
    assert row.note == "without a policy: a"
    found = said(plan=made, keys=tuple(many))["OWASP LLM 2026 02"].evidence[0].what
    assert found.endswith("k18, k19 and 2 more")
    assert said(plan=made, keys=(key("free"),))["GDPR Art. 25, 32"].note == (
        "no deployment and no key is under a policy"
    )


def test_keys_of_the_console_call_no_models() -> None:
    """They are counted apart; that they may call no deployment narrows nothing."""
    keys = (key("a"), key("b", deployments=("support",)), key("vera", role="viewer", deployments=()))
    assert said(keys=keys)["Airboss access"].evidence[0].what == (
        "keys in force: 2 for models, 1 of them for named deployments only; 1 for the console"
    )


def test_limits_are_those_that_hold() -> None:
    """Whoever gave them, the configuration or a verb; and deployments have some too."""
    budget = Budget(usd=Decimal(10), per="month")
    text = SERVED + "limits = { concurrency = 5 }\n[teams.research]\nbudget = { usd = 5, per = 'month' }\n"
    text += "[tags.project]\nbudget = { usd = 5 }\n"
    keys = (key("a", budget=budget), key("b", limits=Limits(concurrency=2)), key("c"))
    found = said(config=parse_config(text, source=""), keys=keys)["OWASP LLM 2026 06"]
    assert found.evidence[0].what == (
        "limits or budgets: a, b, team research, each value of tag project, deployment a"
    )
    assert said(keys=(key("c"),))["OWASP LLM 2026 06"].state == "not evidenced"
