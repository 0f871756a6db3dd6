"""The rollout's state machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import WrongCall
from airboss.domain.verdict import MetricEvidence, Verdict
from airboss.gateway.ids import STEP_MS_MAX
from airboss.rollouts.stages import (
    FINAL,
    SET_BACK_S_MAX,
    Decision,
    Event,
    GateAnswer,
    Look,
    Order,
    Rules,
    Stage,
    Start,
    decide,
    none_runs,
    weight,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = Rules(steps=(0.01, 0.1, 0.5), step_units=20, step_s_min=10, step_s_max=100)
PENDING = Stage(state="scheduled", since=NOON)


def after(seconds: float) -> datetime:
    """So long after noon."""
    return NOON + timedelta(seconds=seconds)


def look(seconds: float, conclusion="hold", units: int = 0, *, exhausted: bool = False) -> Look:
    """A look at so many seconds after noon."""
    return Look(at=after(seconds), conclusion=conclusion, evidence=(), units=units, exhausted=exhausted)


def order(action, seconds: float = 1.0) -> Order:
    """Somebody's order."""
    return Order(at=after(seconds), action=action, by="ann", reason="because")


def play(events: list[Event], rules: Rules = RULES, stage: Stage = PENDING) -> Decision:
    """The last decision of a history."""
    decision = Decision(stage=stage, weight=weight(rules, stage))
    for event in events:
        decision = decide(rules, decision.stage, event)
    return decision


START = Start(at=NOON)


def test_scores_that_have_not_counted_yet_are_told_of() -> None:
    """They count later than all else, and were taken for scores that do not come."""
    none = MetricEvidence(
        metric="score:helpfulness",
        finding="open",
        higher_is_better=True,
        stable_n=0,
        canary_n=0,
        stable_mean=None,
        canary_mean=None,
        effect=None,
        low=-1.0,
        high=1.0,
        margin=0.05,
        alpha_harm=0.05,
        alpha_promote=0.05,
        harm_e=1.0,
        promote_e=1.0,
    )
    words = {}
    for counted in (0, 7):
        evidence = (msgspec.structs.replace(none, stable_n=counted),)
        seen = msgspec.structs.replace(look(20, units=3), evidence=evidence)
        verdict = play([START, seen]).verdict
        assert verdict is not None
        words[counted] = verdict.reason
    assert words[7] == "3 of 20 units of this step"
    assert words[0] == f"{words[7]}; no score:helpfulness has counted yet (each does late_s after its call)"
    last = Stage(state="running", since=NOON, step=2)
    late = msgspec.structs.replace(look(100), evidence=(none,))
    ended = decide(RULES, last, late).verdict
    assert ended is not None
    assert ended.reason.endswith("; no score:helpfulness has ever counted"), (
        "its scorer fails, or nobody scores"
    )


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_clock_that_was_days_ahead_ends_a_rollout(state) -> None:
    """Set back by more than ids go on for, the evidence is in no order: everybody is sent back to stable, but
    after harm, which is known."""
    assert 1000 * SET_BACK_S_MAX == STEP_MS_MAX
    begun = Stage(state=state, since=NOON, paused_at=NOON if state == "paused" else None)
    ahead = msgspec.structs.replace(look(50), ahead_s=7200.0)
    ended = decide(RULES, begun, ahead)
    assert (ended.stage.state, ended.weight) == ("inconclusive", 0.0)
    assert ended.verdict is not None
    assert "set back by 2.0 h" in ended.verdict.reason
    assert decide(RULES, begun, look(-7200)).stage.state == "inconclusive", "the step began ahead"
    assert decide(RULES, begun, look(-3000)).stage == begun, "it is waited for"
    harm = msgspec.structs.replace(ahead, conclusion="abort")
    assert decide(RULES, begun, harm).stage.state == "aborted"


def test_a_rollout_that_goes_well() -> None:
    """Steps rise as their units have been seen, and the last one promotes."""
    now = play([START])
    assert (now.stage.state, now.weight) == ("running", 0.01)
    now = play([START, look(11, units=20)])
    assert (now.stage.step, now.weight) == (1, 0.1)
    now = play([START, look(11, units=20), look(30, units=39)])
    assert now.stage.step == 1
    events: list[Event] = [START, look(11, units=20), look(30, units=40), look(50, "promote", units=60)]
    now = play(events)
    assert (now.stage.state, now.weight) == ("promoted", 1.0)
    assert now.verdict is not None
    assert (now.verdict.conclusion, now.verdict.step, now.verdict.weight) == ("promote", 2, 0.5)


def test_promotion_waits_for_the_units_of_each_step() -> None:
    """Evidence for promotion shortens no step, the last one neither: each is seen by as many as it wants."""
    events: list[Event] = [START]
    for step, units in enumerate((20, 40, 60)):
        now = play([*events, look(30 * step + 11, "promote", units=units - 1)])
        assert (now.stage.state, now.stage.step) == ("running", step)
        assert now.verdict is not None
        assert now.verdict.reason.endswith("19 of 20 units of this step")
        events.append(look(30 * step + 11, "promote", units=units))
    assert play(events).stage.state == "promoted"


def test_who_never_comes_is_not_waited_for() -> None:
    """Of a few users all have been seen soon: the step goes on without more, and says so; a promotion wants
    its evidence."""
    for step, ended in ((0, ("running", 1)), (2, ("promoted", 2))):
        begun = Stage(state="running", since=NOON, step=step)
        now = decide(RULES, begun, look(11, "promote", units=7, exhausted=True))
        assert (now.stage.state, now.stage.step) == ended
        assert now.verdict is not None
        assert now.verdict.reason.endswith("; 7 of 20 units of this step, nobody new came")
        assert decide(RULES, begun, look(11, units=7)).stage == begun
    assert decide(RULES, begun, look(11, units=7, exhausted=True)).stage == begun


def test_a_step_has_a_least_time() -> None:
    """Not even evidence raises a step before its least time."""
    assert play([START, look(9, "promote", units=500)]).stage.step == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (90, "90 s"), (1_800, "30 min"), (5_400, "90 min"), (86_400, "24 h")]
)
def test_reasons_say_times_and_shares_as_people_do(seconds: float, words: str) -> None:
    """`24 h`, not `86400 s`; `5 %`, as everywhere else, not `0.05`."""
    rules = Rules(steps=(0.05, 0.5), step_units=20, step_s_min=seconds, step_s_max=seconds)
    begun = Stage(state="running", since=NOON)

    def reason(stage: Stage, at: float) -> str:
        decided = decide(rules, stage, look(at))
        return decided.verdict.reason if decided.verdict is not None else ""

    assert reason(begun, 0) == f"a step lasts {words} at least"
    assert (
        reason(begun, seconds)
        == "no harm at 5 %; rising to 50 %; 0 of 20 units of this step, its time was up"
    )
    last = msgspec.structs.replace(begun, step=1)
    assert reason(last, seconds) == f"no verdict within the last step's {words}"


def test_harm_aborts_at_once() -> None:
    """In any step, before its least time, paused or not, harm sends everybody back to stable."""
    begun: list[list[Event]] = [[START], [START, look(11, units=20)], [START, order("pause")]]
    for events in begun:
        now = play([*events, look(12, "abort")])
        assert (now.stage.state, now.weight) == ("aborted", 0.0)
        assert now.verdict is not None
        assert now.verdict.authority == "evidence"


def test_the_bound_ends_a_step() -> None:
    """A step that lasts too long gives way to the next; the last one ends inconclusive, on stable."""
    now = play([START, look(100), look(200)])
    assert now.stage.step == 2
    now = play([START, look(100), look(200), look(300)])
    assert (now.stage.state, now.weight) == ("inconclusive", 0.0)


def test_a_pause_stops_the_clock_but_not_the_guard() -> None:
    """While paused nothing rises or promotes, and the time does not count against the bound."""
    paused: list[Event] = [START, look(5), order("pause", 50), look(500, "promote", units=999)]
    now = play(paused)
    assert (now.stage.state, now.weight) == ("paused", 0.01)
    now = play([*paused, order("resume", 1_050), look(1_099)])
    assert (now.stage.state, now.stage.step) == ("running", 0)
    assert play([*paused, order("resume", 1_050), look(1_100)]).stage.step == 1


def test_the_gate_comes_first() -> None:
    """With a gate no traffic goes to the canary before it has passed; refused, the rollout ends."""
    rules = msgspec.structs.replace(RULES, gate=True)
    assert play([START], rules).weight == 0.0
    assert play([START, look(50, "promote", units=99)], rules).stage.state == "gate"
    passed = GateAnswer(at=after(5), passed=True, reason="better on 90 of 120")
    assert play([START, passed], rules).weight == 0.01
    now = play([START, msgspec.structs.replace(passed, passed=False)], rules)
    assert now.stage.state == "aborted"
    assert now.verdict is not None
    assert (now.verdict.authority, now.verdict.reason) == ("gate", "better on 90 of 120")


@pytest.mark.parametrize(
    ("action", "state", "share"), [("promote", "promoted", 1.0), ("abort", "aborted", 0.0)]
)
def test_a_person_decides_at_any_time(action, state: str, share: float) -> None:
    """An order to promote or abort is followed wherever the rollout stands, and says whose it was."""
    begun: list[list[Event]] = [[], [START], [START, order("pause")]]
    for events in begun:
        now = play([*events, order(action, 2)])
        assert (now.stage.state, now.weight) == (state, share)
        assert now.verdict is not None
        assert (now.verdict.authority, now.verdict.reason) == ("person", "ann: because")


def test_orders_that_make_no_sense() -> None:
    """What cannot be done is refused, with where the rollout stands; what is so already is no fault."""
    refused: list[tuple[list[Event], str, str]] = [
        ([], "pause", "scheduled, not running"),
        ([], "resume", "scheduled, not paused"),
        ([START, order("abort")], "abort", "aborted since"),
        ([START, order("promote")], "resume", "promoted since"),
    ]
    for events, action, match in refused:
        with pytest.raises(WrongCall, match=match):
            play([*events, order(action, 3)])
    assert play([START, order("pause"), order("pause", 2)]).stage.state == "paused"
    assert play([START, order("resume", 2)]).stage.state == "running"


events = st.one_of(
    st.builds(Start, at=st.just(NOON)),
    st.builds(
        Look,
        at=st.integers(0, 1_000).map(after),
        conclusion=st.sampled_from(["hold", "promote", "abort"]),
        evidence=st.just(()),
        units=st.integers(0, 200),
    ),
    st.builds(GateAnswer, at=st.just(NOON), passed=st.booleans(), reason=st.just("so")),
    st.builds(
        Order,
        at=st.integers(0, 1_000).map(after),
        action=st.sampled_from(["pause", "resume", "promote", "abort"]),
        by=st.just("ann"),
    ),
)


@given(history=st.lists(events, max_size=30), gate=st.booleans())
def test_whatever_happens(history: list[Event], gate: bool) -> None:
    """A final state is final, weights only rise until then, and all traffic comes by promotion only."""
    rules = msgspec.structs.replace(RULES, gate=gate)
    stage = PENDING
    for event in history:
        before = stage
        try:
            decision = decide(rules, stage, event)
        except WrongCall:
            continue
        assert decide(rules, stage, event) == decision
        stage = decision.stage
        assert decision.weight == weight(rules, stage)
        if before.state in FINAL:
            assert stage == before
        elif stage.state not in FINAL:
            assert weight(rules, before) <= decision.weight < 1
        if before.state == "paused" and isinstance(event, Look):
            assert stage.state in ("paused", "aborted")
        if stage.state in FINAL and before.state not in FINAL:
            assert decision.verdict is not None


def test_stages_and_verdicts_can_be_stored() -> None:
    """What the ledger keeps comes back as it was."""
    now = play([START, look(11, units=20), order("pause", 15)])
    assert msgspec.json.decode(msgspec.json.encode(now.stage), type=Stage) == now.stage
    verdict = play([START, look(11, "abort")]).verdict
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ()},
        {"steps": (0.5, 0.1)},
        {"steps": (0.1, 0.1)},
        {"steps": (0.0, 0.5)},
        {"steps": (0.5, 1.0)},
        {"steps": (5.0, 50.0)},
        {"steps": (0.5,), "step_units": 0},
        {"steps": (0.5,), "step_s_min": 10, "step_s_max": 5},
    ],
)
def test_rules_that_cannot_be_followed(wrong) -> None:
    """Steps are weights between 0 and 1 that rise, and a step needs a unit and some time."""
    with pytest.raises(ValueError, match=r"rise|cannot be"):
        Rules(**wrong)


def test_an_order_without_a_rollout_hears_what_to_do() -> None:
    """Who wants to take back what was promoted is not told to begin another rollout."""
    begins = "`airboss rollout start support` begins one"
    assert none_runs("support", None) == f"no rollout of 'support' is running; {begins}"
    aborted = none_runs("support", Stage(state="aborted", since=NOON))
    assert f"is aborted since {NOON:%F %T} UTC; {begins}" in aborted
    promoted = none_runs("support", Stage(state="promoted", since=NOON))
    assert "rollout start" not in promoted
    assert "`airboss rollout undo support` takes that back" in promoted
