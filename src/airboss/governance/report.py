"""What an auditor asks for, clause by clause, and what here is evidence of it. Facts in, rows out.

A row never says that anybody complies. It says what there is, where to look and which entries of the audit
log show it, or that there is nothing. What Airboss does not offer stands there too.

The clauses, in our words, as they stood on CLAUSES_AS_OF: Regulation (EU) 2024/1689 (AI Act) as amended by
Regulation (EU) 2026/1744, Regulation (EU) 2016/679 (GDPR), NIST AI 600-1, ISO/IEC 42001 Annex A (titles) and
OWASP's Top 10 for LLM applications 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Final, Literal

import msgspec

from airboss.config import Config
from airboss.domain.plan import DeploymentPlan, ServingPlan
from airboss.domain.ports import ApiKey
from airboss.domain.release import PiiAction
from airboss.governance.audit_verify import Verdict
from airboss.governance.policies import ACTIONS, binding
from airboss.store.wording import many

CLAUSES_AS_OF: Final = date(2026, 11, 23)
HALF_A_YEAR_DAYS: Final = 183
NAMED_MAX: Final = 20
"""Keys that one piece of evidence names."""

State = Literal["evidenced", "not evidenced", "not offered", "not applicable"]
"""What can be said of a clause here."""


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the audit log with one action, in the report's period: how many, and the first and the last
    leaf's number."""

    count: int
    first: int
    last: int


class ProbeFact(msgspec.Struct, frozen=True, kw_only=True):
    """A finished probe of bias."""

    id: str
    deployment: str
    at: datetime
    conclusion: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the report rests on. `rollouts` are those of the period by state; `records` is None while the
    record store is away; `dead_letters` are frames that could not become records. `plan` is what is served;
    `keys` are those in force."""

    since: datetime
    until: datetime
    config: Config
    plan: ServingPlan | None
    audit: Verdict
    entries: Mapping[str, Entries]
    records: int | None
    dead_letters: int
    keys: tuple[ApiKey, ...]
    rollouts: Mapping[str, int]
    probes: tuple[ProbeFact, ...]
    evaluations: int
    alarms: Mapping[str, str]
    erasures_done: int
    erasures_pending: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be looked at: what, the command that shows it, and leaves of the audit log."""

    what: str
    command: str
    leaves: tuple[int, int] | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One clause: what it asks, what can be said, and by what. `note` is what a reader must know."""

    source: str
    clause: str
    asks: str
    state: State
    evidence: tuple[Evidence, ...] = ()
    note: str = ""


def rows(facts: Facts) -> tuple[Row, ...]:
    """The report, in the order of `_CLAUSES`."""
    made = []
    for source, clause, asks, find in _CLAUSES:
        state, evidence, note = find(facts)
        made.append(Row(source=source, clause=clause, asks=asks, state=state, evidence=evidence, note=note))
    return tuple(made)


Found = tuple[State, tuple[Evidence, ...], str]


def _shown(evidence: Iterator[Evidence], *, otherwise: str) -> Found:
    found = tuple(evidence)
    return ("evidenced", found, "") if found else ("not evidenced", (), otherwise)


def _logged(facts: Facts) -> Iterator[Evidence]:
    if facts.records:
        yield Evidence(
            what=f"{many(facts.records, 'call')} recorded, each with time, key, release digest and outcome",
            command="airboss records",
        )


def _history(facts: Facts) -> Iterator[Evidence]:
    if facts.audit.valid and facts.audit.checked:
        yield Evidence(
            what=f"{many(facts.audit.checked, 'entry')} verified under the signed root {facts.audit.root}",
            command="airboss audit verify",
            leaves=(0, facts.audit.checked - 1),
        )


def _events(facts: Facts) -> Found:
    state, evidence, note = _shown(_logged(facts), otherwise="no call was recorded in the period")
    if facts.records is None:
        return "not evidenced", (), "the record store is away; ask again when it is back"
    if facts.dead_letters:
        note = f"{many(facts.dead_letters, 'frame')} could not become records: see `airboss status`"
    return state, evidence, note


def _tamper(facts: Facts) -> Found:
    return _shown(_history(facts), otherwise=facts.audit.problem or "nothing stands in the audit log yet")


def _kept_long(facts: Facts) -> Found:
    days = facts.config.store.retention.records_days
    if days is not None and days < HALF_A_YEAR_DAYS:
        return (
            "not evidenced",
            (),
            f"records go after {many(days, 'day')}; the clause asks for six months at least",
        )
    kept = "for good" if days is None else f"for {many(days, 'day')}"
    return "evidenced", (Evidence(what=f"records are kept {kept}", command="airboss export"),), ""


def _acts(facts: Facts, *actions: str) -> Iterator[Evidence]:
    for action in actions:
        found = facts.entries.get(action)
        if found is not None:
            yield Evidence(
                what=f"{action}, {'once' if found.count == 1 else f'{found.count} times'}",
                command=f"airboss audit list --action {action}",
                leaves=(found.first, found.last),
            )


def _oversight(facts: Facts) -> Found:
    def found() -> Iterator[Evidence]:
        if facts.rollouts:
            told = ", ".join(f"{count} {state}" for state, count in sorted(facts.rollouts.items()))
            yield Evidence(what=f"changes exposed by rollout: {told}", command="airboss rollout status")
        words = ("start", "pause", "resume", "promote", "abort", "undo")
        decided = (f"approvals.{word}" for word in ("approve", "reject", "lapse"))
        yield from _acts(facts, *(f"rollout.{word}" for word in words), "verdict", *decided)

    return _shown(
        found(), otherwise="no rollout ran in the period; changes were applied at once, or none were made"
    )


def _changes(facts: Facts) -> Found:
    return _shown(_acts(facts, "config.apply", "plan.publish"), otherwise="nothing was changed in the period")


def _monitored(facts: Facts) -> Found:
    def found() -> Iterator[Evidence]:
        if facts.alarms:
            firing = sum(state == "firing" for state in facts.alarms.values())
            yield Evidence(
                what=f"{len(facts.alarms)} monitors, {firing} firing now", command="airboss monitor list"
            )

    return _shown(found(), otherwise="there is no monitor")


def _bias(facts: Facts) -> Found:
    def found() -> Iterator[Evidence]:
        for probe in facts.probes:
            yield Evidence(
                what=f"{probe.deployment} probed on {probe.at:%Y-%m-%d}: {probe.conclusion}",
                command=f"airboss probe show {probe.id}",
            )

    return _shown(found(), otherwise="no probe of bias ended in the period; run `airboss probe bias`")


def _evaluated(facts: Facts) -> Found:
    def found() -> Iterator[Evidence]:
        if facts.evaluations:
            yield Evidence(
                what=f"{facts.evaluations} evaluations with interval and test", command="airboss eval list"
            )

    return _shown(found(), otherwise="no evaluation ended in the period")


def _screened(facts: Facts) -> Found:
    deployments = facts.plan.deployments if facts.plan is not None else ()
    bound = {each.name: under for each in deployments if (under := _under(each))}
    bare = sorted({each.name for each in deployments} - bound.keys())

    def found() -> Iterator[Evidence]:
        for name, under in sorted(bound.items()):
            yield Evidence(
                what=f"deployment {name} is under a policy ({_does(under)})", command="airboss policy list"
            )
        for name, policy in sorted(facts.plan.policies.items()) if facts.plan is not None else ():
            keys = [key.name for key in facts.keys if name in key.policies]
            if keys:
                said = _does(binding(policy))
                more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
                yield Evidence(
                    what=f"calls with these keys are under policy {name} ({said}), whatever they call: "
                    f"{', '.join(keys[:NAMED_MAX])}{more}",
                    command="airboss policy list",
                )

    state, evidence, note = _shown(found(), otherwise="no deployment and no key is under a policy")
    if evidence and bare:
        note = f"without a policy: {', '.join(bare)}"
    return state, evidence, note


def _under(deployment: DeploymentPlan) -> Mapping[str, PiiAction]:
    """What is done about which kinds whichever release answers: where they differ, the mildest."""
    others = [each.served.release for each in (deployment.canary, deployment.preview) if each is not None]
    each_does = [binding(deployment.policy, release.policy) for release in (deployment.stable, *others)]
    found: dict[str, PiiAction] = {}
    for kind in each_does[0]:
        does = [each[kind] for each in each_does if kind in each]
        if len(does) == len(each_does):
            found[kind] = min(does, key=ACTIONS.index)
    return found


def _does(actions: Mapping[str, PiiAction]) -> str:
    """The same in words, each action once."""
    found: dict[PiiAction, list[str]] = {}
    for kind, action in actions.items():
        found.setdefault(action, []).append(kind)
    return "; ".join(f"{action} {', '.join(kinds)}" for action, kinds in found.items())


def _erased(facts: Facts) -> Found:
    who = "person" if facts.erasures_done == 1 else "people"

    def found() -> Iterator[Evidence]:
        if facts.erasures_done:
            yield Evidence(
                what=f"{facts.erasures_done} {who} forgotten; the log still verifies",
                command="airboss audit list --action erase.done",
            )

    state, evidence, note = _shown(found(), otherwise="nobody was forgotten in the period")
    if facts.erasures_pending:
        note = f"{facts.erasures_pending} pending"
    return state, evidence, note


def _stored_briefly(facts: Facts) -> Found:
    if facts.config.store.bodies == "off":
        return "evidenced", (Evidence(what="bodies are not kept", command="airboss export"),), ""
    days = facts.config.store.retention.bodies_days
    if days is None:
        return (
            "not evidenced",
            (),
            "requests and responses are kept for good: set [store] retention bodies_days",
        )
    what = f"requests and responses go after {many(days, 'day')}"
    answers = facts.config.store.retention.answers_days
    if answers is None:
        note = "answers of evaluations are kept for good: set [store] retention answers_days"
        return "evidenced", (Evidence(what=what, command="airboss export"),), note
    what += f", answers of evaluations after {many(answers, 'day')}"
    return "evidenced", (Evidence(what=what, command="airboss export"),), ""


def _access(facts: Facts) -> Found:
    calling = [key for key in facts.keys if key.role is None]
    scoped = sum(key.deployments is not None for key in calling)
    people = len(facts.keys) - len(calling)

    def found() -> Iterator[Evidence]:
        if facts.keys:
            yield Evidence(
                what=f"keys in force: {len(calling)} for models, {scoped} of them for named deployments "
                f"only; {people} for the console",
                command="airboss keys list",
            )
        yield from _acts(facts, "keys.create", "keys.rotate", "keys.revoke")

    return _shown(found(), otherwise="there is no key")


def _bounded(facts: Facts) -> Found:
    limited = [key.name for key in facts.keys if key.limits or key.budget or key.each_user]
    limited += [f"team {name}" for name in facts.config.teams]
    limited += [f"each value of tag {name}" for name in facts.config.tags]
    limited += [f"deployment {name}" for name, each in facts.config.deployments.items() if each.limits]
    if facts.config.gateway.limits is not None:
        limited.append("all calls together")

    def found() -> Iterator[Evidence]:
        if limited:
            yield Evidence(what=f"limits or budgets: {', '.join(limited)}", command="airboss keys list")

    return _shown(found(), otherwise="nothing has a limit or a budget")


def _absent(state: State, note: str) -> Callable[[Facts], Found]:
    def found(_facts: Facts) -> Found:
        return state, (), note

    return found


_AI_ACT, _GDPR, _NIST, _ISO, _OWASP = "AI Act", "GDPR", "NIST AI 600-1", "ISO/IEC 42001", "OWASP LLM 2026"
_CLAUSES: Final[tuple[tuple[str, str, str, Callable[[Facts], Found]], ...]] = (
    (_AI_ACT, "Art. 12(1)-(2)", "events are logged automatically", _events),
    (
        *(_AI_ACT, "Art. 12(3)", "period, database, matches and persons of remote identification"),
        _absent("not applicable", "of systems under Annex III 1(a) only"),
    ),
    (
        _AI_ACT,
        "Art. 19, 26(6)",
        "logs are kept for six months at least, unless other law says less",
        _kept_long,
    ),
    (_AI_ACT, "Art. 26(2), (5)", "people oversee, can suspend, and it is seen that they do", _oversight),
    (
        *(_AI_ACT, "Art. 50(1)", "people are told that they speak to a machine"),
        _absent("not offered", "your application's; answers carry x-airboss-release to name what made them"),
    ),
    (
        *(_AI_ACT, "Art. 50(2)", "generated content is marked for machines"),
        _absent("not offered", "texts are not marked"),
    ),
    (_AI_ACT, "Art. 72", "behaviour is monitored after it is on the market", _monitored),
    (_GDPR, "Art. 5(1)(e)", "personal data is kept no longer than needed", _stored_briefly),
    (_GDPR, "Art. 17", "a person's data is erased when they ask", _erased),
    (_GDPR, "Art. 25, 32", "personal data is kept out where it is not needed", _screened),
    (_NIST, "MS-2.8-003", "history shows that it was tampered with", _tamper),
    (_NIST, "MS-2.11-001, -002", "bias is measured", _bias),
    (_NIST, "MS-2.13-001", "measures are valid and their uncertainty is known", _evaluated),
    (_ISO, "A.6.2.6", "operation and monitoring", _monitored),
    (_ISO, "A.6.2.8", "event logs", _events),
    (_ISO, "A.6.2.3-5", "changes are documented and verified", _changes),
    (_OWASP, "02", "sensitive information is not disclosed", _screened),
    (_OWASP, "06", "consumption is bounded", _bounded),
    ("Airboss", "access", "who may call is known, and every change of it", _access),
)
