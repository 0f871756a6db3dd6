"""What drifts is found, with its begin and examples; what does not drift is left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.evaluations import drift, drift_checks
from airboss.evaluations.drift import Drift
from airboss.evaluations.drift_features import FEATURES, Seen, form, language, near, seen, vector
from tests.store.samples import record

START = datetime(2026, 11, 1, tzinfo=UTC)
TOPICS = (
    "refund invoice payment order card charged customer shipping parcel delivery",
    "python function error traceback compile import module variable loop test",
    "recipe tomato basil oven pasta garlic onion butter dinner flour",
    "football match goal league season player coach transfer stadium referee",
)
Change = Callable[[random.Random, dict[str, Any]], None]


def call(rng: random.Random, number: int, change: Change | None = None) -> Seen:
    """A call of ordinary traffic, with something changed."""
    words = rng.choices(rng.choice(TOPICS).split(), k=12)
    given: dict[str, Any] = {
        "id": f"r{number}",
        "at": START + timedelta(minutes=number),
        "input_length": int(rng.lognormvariate(5, 0.7)),
        "input_language": rng.choices(["english", "german", "unclear"], [0.8, 0.15, 0.05])[0],
        "input_topic": dict(vector(" ".join(words))),
        "output_length": int(rng.lognormvariate(6, 0.5)),
        "output_language": rng.choices(["english", "german", "unclear"], [0.8, 0.15, 0.05])[0],
        "output_refusal": "declines" if rng.random() < 0.03 else "answers",
        "output_format": rng.choices(["prose", "a list", "with code"], [0.7, 0.2, 0.1])[0],
    }
    if change is not None:
        change(rng, given)
    return Seen(**given)


def watched(
    seed: int, count: int, change: Change | None = None, *, at: int = 1_000, reference: int = 300
) -> Drift:
    """The state after so many calls, twenty at a time; from number `at` on they change. What the ledger keeps
    in between is JSON."""
    rng = random.Random(seed)
    state = drift.begun("support", alpha=0.01, reference=reference, now=START)
    for start in range(0, count, 20):
        calls = [call(rng, each, change if each >= at else None) for each in range(start, start + 20)]
        state = drift.after(state, calls, now=calls[-1].at)
        if start % 400 == 0:
            state = msgspec.json.decode(msgspec.json.encode(state), type=Drift)
    return state


def longer(rng: random.Random, given: dict[str, Any]) -> None:
    """Questions become three times as long."""
    given["input_length"] *= 3


def french(rng: random.Random, given: dict[str, Any]) -> None:
    """A third becomes French."""
    if rng.random() < 0.33:
        given["input_language"] = "french"


def law(rng: random.Random, given: dict[str, Any]) -> None:
    """Half is about something new."""
    if rng.random() < 0.5:
        given["input_topic"] = dict(
            vector("contract court clause lawyer appeal judge statute liability tort")
        )


def shorter(rng: random.Random, given: dict[str, Any]) -> None:
    """Answers become a third as long."""
    given["output_length"] //= 3


def answered_in_french(rng: random.Random, given: dict[str, Any]) -> None:
    """A third is answered in French."""
    if rng.random() < 0.33:
        given["output_language"] = "french"


def declining(rng: random.Random, given: dict[str, Any]) -> None:
    """A fifth declines."""
    if rng.random() < 0.2:
        given["output_refusal"] = "declines"


def lists(rng: random.Random, given: dict[str, Any]) -> None:
    """Most answers become lists."""
    if rng.random() < 0.6:
        given["output_format"] = "a list"


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (longer, "input_length"),
        (french, "input_language"),
        (law, "input_topic"),
        (shorter, "output_length"),
        (answered_in_french, "output_language"),
        (declining, "output_refusal"),
        (lists, "output_format"),
    ],
)
def test_planted_drift_is_found(change: Change, feature: str) -> None:
    """In the feature that moved and no other, about when it began, with examples from before and after."""
    state = watched(1, 2_000, change)
    assert {each.feature for each in state.found} == {feature}
    for each in state.found:
        assert START + timedelta(minutes=900) <= each.since <= START + timedelta(minutes=1_400)
        assert each.after / each.n_after > each.before / each.n_before
        assert (len(each.examples_before), len(each.examples_after)) == (5, 5)
        assert all(int(name[1:]) >= 900 for name in each.examples_after)
        assert all(int(name[1:]) < 300 for name in each.examples_before)


def test_of_calls_since_it_began_none_is_from_before() -> None:
    """What begins amid the calls of a look is all of what is counted since, and its examples are."""

    def all_french(_rng: random.Random, given: dict[str, Any]) -> None:
        given["input_language"] = "french"

    state = watched(3, 1_100, all_french, at=1_013)
    (found,) = [each for each in state.found if each.feature == "input_language"]
    assert found.since == START + timedelta(minutes=1_013)
    assert found.after == found.n_after > 0
    assert all(int(each.removeprefix("r")) >= 1_013 for each in found.examples_after)


def test_what_drifts_after_a_pause_drifts_since_its_first_call() -> None:
    """Not since the last one before the weekend."""
    state = watched(7, 600)
    rng = random.Random(8)
    calls = [call(rng, number, french) for number in range(5_000, 5_400)]
    for start in range(0, 400, 20):
        state = drift.after(state, calls[start : start + 20], now=calls[start + 19].at)
    (found,) = [each for each in state.found if each.feature == "input_language"]
    assert START + timedelta(minutes=5_000) <= found.since <= START + timedelta(minutes=5_100)


def test_traffic_that_stays_the_same_raises_nothing() -> None:
    """Ten A/A epochs of 3,000 calls: not one of some thirty tests at once is wrong."""
    states = [watched(seed, 3_000, reference=300) for seed in range(10)]
    assert all(state.tests > 20 for state in states)
    assert [each for state in states for each in state.found] == []


def test_calls_that_are_all_alike_are_a_reference_too() -> None:
    """Without words there are no topics, and one length is one edge; nothing breaks and nothing is found."""
    bare = msgspec.structs.replace(call(random.Random(1), 1), input_topic={}, input_length=2)
    state = drift.begun("support", alpha=0.01, reference=50, now=START)
    for _ in range(40):
        state = drift.after(state, [bare] * 20, now=START)
    assert (bool(state.watched), state.found) == (True, ())


def test_a_new_reference_is_learned_after_a_week() -> None:
    """Slow change is not held against a distant past; what was found stays until somebody accepts it."""
    state = watched(3, 1_000)
    later = state.since + drift.EPOCH
    again = drift.after(state, [call(random.Random(1), 1)], now=later)
    assert (again.watched, len(again.learning)) == ({}, 1)
    bad = watched(1, 2_000, declining)
    assert drift.after(bad, [], now=bad.since + drift.EPOCH).found == bad.found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How can I get a refund for this order, please?", "english"),
        ("Wie bekomme ich mein Geld zurück? Ich habe das nicht bestellt.", "german"),
        ("Comment est-ce que je peux annuler la commande ?", "french"),
        ("¿Cómo puedo cancelar el pedido que hice por la web?", "spanish"),
        ("お金を返してください", "japanese"),
        ("Как вернуть деньги за заказ?", "russian"),
        ("xyzzy 12345", "unclear"),
        ("", "unclear"),
    ],
)
def test_languages_are_told_apart(text: str, expected: str) -> None:
    """By script and by the commonest words."""
    assert language(text) == expected


def test_answers_have_a_form() -> None:
    """Where JSON was asked for, whether it is that."""
    asked = {"response_format": {"type": "json_object"}}
    assert form(asked, '{"a": 1}', "stop") == "json as asked"
    assert form(asked, "Sure! Here is it", "stop") == "no json though asked"
    assert form({}, "Sure", "length") == "cut off"
    assert form({}, "1. one\n2. two", "stop") == "a list"
    assert form({}, "```python\n```", "stop") == "with code"
    assert form(None, "Just so.", None) == "prose"


def test_a_record_is_seen() -> None:
    """From its bodies; one without them, or that failed, is not."""
    found = seen(record(1))
    assert found is not None
    assert found.input_length == 2
    assert set(FEATURES) < set(Seen.__struct_fields__)
    assert seen(record(1, request=None)) is None
    assert seen(record(1, status="error")) is None


def asked_again(
    seed: int, replays: int, *, changes_at: int | None, noise: float = 0.2
) -> drift_checks.Checks:
    """Ten prompts, replayed; answers vary in their words by chance, and change altogether at some time."""
    rng = random.Random(seed)
    prompts = [f"question {number}" for number in range(10)]
    usual = {each: rng.choices(" ".join(TOPICS).split(), k=30) for each in prompts}
    other = {each: rng.choices(" ".join(TOPICS).split(), k=30) for each in prompts}
    state = drift_checks.begun(prompts, "d" * 64, alpha=0.01, now=START)
    for replay in range(replays):
        source = other if changes_at is not None and replay >= changes_at else usual
        answers = {
            each: " ".join(
                word if rng.random() > noise else rng.choice(TOPICS).split()[0] for word in source[each]
            )
            for each in prompts
        }
        state = drift_checks.after(state, answers, now=START + timedelta(hours=replay))
        state = msgspec.json.decode(msgspec.json.encode(state), type=drift_checks.Checks)
        if state.drifted:
            break
    return state


def test_a_model_that_changes_silently_is_noticed() -> None:
    """Within three replays, with prompts whose answers are others now, and since when."""
    for seed in range(10):
        state = asked_again(seed, 40, changes_at=20)
        assert state.drifted
        assert state.replays <= 24
        assert state.since == START + timedelta(hours=20)
        assert len(state.changed) == drift_checks.EXAMPLES
        assert all(each.likeness < each.floor for each in state.changed)


@pytest.mark.parametrize(("prompts", "replays"), [(1, 12), (2, 6), (5, 3), (20, 1)])
def test_how_soon_a_change_of_all_answers_is_sure(prompts: int, replays: int) -> None:
    """The more is asked, the sooner: as docs/configuration.md says."""
    asked = [str(each) for each in range(prompts)]
    state = drift_checks.begun(asked, "d", alpha=0.01, now=START)
    for _ in range(drift_checks.REPEATS + 28):
        state = drift_checks.after(state, dict.fromkeys(asked, "tomato basil"), now=START)
    took = 0
    while not state.drifted:
        state = drift_checks.after(state, dict.fromkeys(asked, "football league"), now=START)
        took += 1
    assert took == replays


def test_a_model_that_only_varies_is_left_alone() -> None:
    """Noise was measured by asking again: a hundred replays of five models raise nothing."""
    assert not any(asked_again(seed, 100, changes_at=None).drifted for seed in range(5))
    assert not asked_again(1, 100, changes_at=None, noise=0.0).drifted


def test_a_prompt_that_fails_counts_for_nothing() -> None:
    """Neither as changed nor as unchanged, and it is told how many."""
    state = drift_checks.begun(["a", "b"], "d", alpha=0.01, now=START)
    for _ in range(drift_checks.REPEATS):
        state = drift_checks.after(state, {"a": "one", "b": "two"}, now=START)
    state = drift_checks.after(state, {"a": "one"}, now=START)
    assert (state.failed, state.changed) == (1, ())
    assert drift_checks.after(state, {}, now=START).failed == 2


def test_likeness_is_between_nothing_and_all() -> None:
    """The same text is 1, other words are 0."""
    assert drift_checks.likeness("Paris. ", "Paris.") == 1.0
    assert drift_checks.likeness("tomato basil", "football league") == 0.0
    assert near({}, vector("word")) == 0.0
