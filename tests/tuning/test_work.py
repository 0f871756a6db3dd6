"""Tuning from the task to the result."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import UpstreamFailed, WrongCall
from airboss.evaluations.datasets import Input, dataset
from airboss.evaluations.ports import Answer, Target
from airboss.evaluations.scorers.length import Length
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.refusal import Refusal
from airboss.releases.build import sealed
from airboss.tuning.plan import TuneResult
from tests.tuning.support import (
    BASE,
    REFLECTOR,
    MemoryStore,
    World,
    answer,
    made,
    named,
    rendered,
    shown,
    stored,
    task,
    truth,
    tuned,
)


def better(messages: list[dict[str, str]]) -> float:
    """Naming the answers helps, and so do examples."""
    return 0.35 + 0.25 * named(messages) + 0.35 * min(shown(messages), 8) / 8


def test_a_better_prompt_is_found_and_judged_better() -> None:
    """The release that is returned beats today's on the holdout, by an interval that excludes 0; it is
    today's with another prompt, examples or form."""
    store = MemoryStore()
    result = tuned(store, World(better), task(stored(store)))
    assert result.better
    assert result.release is not None
    assert result.judgement is not None
    assert result.judgement.gain is not None
    assert result.judgement.gain.low > 0
    assert result.judgement.p_value is not None
    assert result.judgement.p_value <= 0.05
    assert result.chosen is not None
    assert result.chosen.score > result.today.score
    assert (result.release.name, result.release.model) == ("support-tuned", BASE.model)
    assert result.release.examples
    assert result.release.digest == result.chosen.release


def test_the_result_says_what_it_rests_on() -> None:
    """Every candidate has its score with n, the frontier only rises, and calls and cost add up."""
    store = MemoryStore()
    world = World(better)
    result = tuned(store, world, task(stored(store)))
    assert result.calls == len(world.calls) <= result.budget
    assert float(result.cost_usd) == pytest.approx(0.001 * result.calls)
    assert result.cost_unknown == 0
    assert {each.n for each in result.candidates} == {30}
    assert result.tried > len(result.candidates) > 0
    assert result.candidates[0].score == max(each.score for each in result.candidates)
    assert result.candidates[0].difference is not None
    prices = [each.tokens_per_call or 0 for each in result.frontier]
    scores = [each.score for each in result.frontier]
    assert prices == sorted(prices)
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores) >= 2
    assert msgspec.json.decode(msgspec.json.encode(result), type=TuneResult) == result


def test_nothing_better_is_said_and_the_holdout_stays_closed() -> None:
    """Where every change makes it worse, the answer is no, without a look at the holdout."""
    store = MemoryStore()

    def worse(messages: list[dict[str, str]]) -> float:
        return 0.9 if messages == [{"role": "system", "content": BASE.prompt}] else 0.1

    result = tuned(store, World(worse), task(stored(store)))
    assert not result.better
    assert (result.release, result.chosen, result.judgement) == (None, None, None)
    assert "nothing scored higher" in result.reason
    assert store.reads == []


def test_what_looks_better_on_validation_is_judged_on_the_holdout() -> None:
    """A release that was lucky on validation gets the holdout's no."""
    store = MemoryStore()

    def lucky(messages: list[dict[str, str]]) -> float:
        return 0.5

    result = tuned(store, World(lucky, seed=3), task(stored(store)))
    assert result.chosen is not None
    assert result.chosen.score > result.today.score
    assert result.judgement is not None
    assert not result.better
    assert "no difference shown" in result.reason


def test_false_acceptance_is_held() -> None:
    """Where no prompt is better than another, at most 5% of 60 tunings find one, allowing for luck: more than
    7 have a chance of less than 1% at that rate."""
    accepted = 0
    for seed in range(60):
        store = MemoryStore()
        digest = stored(store, made(train=12, validation=12, holdout=40))
        what = task(digest, budget=240, seed=seed)
        accepted += tuned(store, World(lambda _messages: 0.6, seed=seed), what).better
    assert accepted <= 7


@pytest.mark.parametrize("budget", [196, 197, 230, 333, 600, 1_000])
@pytest.mark.parametrize("reflector", [False, True])
def test_the_budget_is_never_exceeded(budget: int, reflector: bool) -> None:
    """However large it is, and with the reflector's calls."""
    store = MemoryStore()
    world = World(better, writes="Say left, right, up.")
    what = task(stored(store), budget=budget, reflector=REFLECTOR if reflector else None)
    result = tuned(store, world, what)
    assert len(world.calls) == result.calls <= budget
    assert result.calls > budget * 0.6 or budget == 1_000


def test_calls_that_fail_count() -> None:
    """A model that answers every second call leaves the budget as hard as it was."""
    store = MemoryStore()

    class Flaky(World):
        async def call(self, call: Any) -> Answer:
            said = await super().call(call)
            return Answer(error="500: broken") if len(self.calls) % 3 == 0 else said

    world = Flaky(better)
    result = tuned(store, world, task(stored(store), budget=400))
    assert len(world.calls) == result.calls <= 400
    assert any(each.unscored for each in result.candidates)


def test_the_judges_calls_count() -> None:
    """With a judging model every item costs two calls, and the budget holds for both."""
    store = MemoryStore()

    class Judged(World):
        async def call(self, call: Any) -> Answer:
            if call.target.deployment == "judge":
                self.calls.append(call)
                said = msgspec.json.decode(call.input.messages[1]["content"])
                return answer(f'{{"grade": {5 if said["answer"] == said["reference"] else 1}}}')
            return await super().call(call)

    world = Judged(better)
    judge = Target(deployment="judge", release="f" * 64)
    what = task(stored(store), budget=700, scorer=LlmJudge(deployment="judge"), judges={"judge": judge})
    result = tuned(store, world, what)
    assert len(world.calls) == result.calls <= 700
    judged = sum(call.target == judge for call in world.calls)
    assert 0 < judged <= result.calls / 2
    assert result.judgement is not None
    assert result.judgement.gain is not None
    assert result.judgement.gain.estimate > 0.1


def test_what_was_answered_before_is_free() -> None:
    """The same tuning again makes no call, spends nothing and comes to the same."""
    store = MemoryStore()
    digest = stored(store)
    first = tuned(store, World(better), task(digest, seed=1))
    world = World(better)
    again = tuned(store, world, task(digest, seed=1), id="tune-2")
    assert again.tried >= first.tried
    fresh = [question for question in world.questions if question.startswith("holdout")]
    assert again.calls == len(world.calls)
    assert len(fresh) <= 60


def test_the_holdout_is_asked_last_and_never_shown() -> None:
    """No call before the judgement asks a holdout item, no prompt ever shows one, validation's are not shown
    either, and that the holdout was read is written down once."""
    store = MemoryStore()
    world = World(better)
    result = tuned(store, world, task(stored(store), budget=900))
    asked = world.questions
    first = next(number for number, question in enumerate(asked) if question.startswith("holdout"))
    assert all(question.startswith("holdout") for question in asked[first:])
    assert Counter(asked[first:]).most_common(1)[0][1] == 2
    for call in world.calls:
        before = str(rendered(call)[:-1])
        assert "holdout" not in before
        assert "validation" not in before
    assert len(store.reads) == 1
    assert store.reads[0].who == "ann"
    assert "tune-1" in store.reads[0].why
    assert result.judgement is not None
    assert result.judgement.reads_before == 0
    assert tuned(store, World(better), task(next(iter(store.rows))), id="tune-2").judgement is not None
    assert len(store.reads) == 2


def test_a_question_that_is_an_example_judges_nobody() -> None:
    """Holdout items that the new release shows as examples are left out of the judgement, on both sides, and
    counted; validation questions never become examples."""
    store = MemoryStore()
    plain = made()
    again = [
        msgspec.structs.replace(item, id=f"again-{item.id}", part=part)
        for part, text in (("holdout", "train"), ("train", "validation"))
        for item in plain.items
        if item.id.startswith(text)
    ]
    world = World(better)
    result = tuned(store, world, task(stored(store, dataset("steer", [*plain.items, *again])), budget=900))
    assert result.release is not None
    assert result.judgement is not None
    assert not any("validation" in example.input for example in result.release.examples)
    assert result.judgement.shown == len(result.release.examples) > 0
    assert result.judgement.items == 90 - result.judgement.shown


def test_placeholders_of_the_prompt_stay() -> None:
    """A prompt that asks for a variable keeps asking for it, in every candidate."""
    store = MemoryStore()
    base = sealed(msgspec.structs.replace(BASE, prompt="You are {{ tone }}."))
    items = [
        msgspec.structs.replace(item, input=Input(messages=item.input.messages, variables={"tone": "kind"}))
        for item in made().items
    ]
    world = World(better, base=base)
    result = tuned(store, world, task(stored(store, dataset("steer", items)), base=base))
    assert all("You are kind." in str(rendered(call, base)[0]) for call in world.calls)
    assert result.release is not None
    assert "{{ tone }}" in (result.release.prompt or "")


@pytest.mark.parametrize(("user", "told"), [(None, "503: no replica"), ("ann", "503")])
def test_a_release_that_does_not_answer_ends_the_job(user: str | None, told: str) -> None:
    """With the cause, after validation was asked once; of people's items without what it quotes, since why
    a job failed outlives them."""
    store = MemoryStore()
    items = [msgspec.structs.replace(each, user=user) for each in made().items]

    class Down(World):
        async def call(self, call: Any) -> Answer:
            await super().call(call)
            return Answer(error="503: no replica")

    world = Down(better)
    with pytest.raises(UpstreamFailed, match=rf"30 could not be scored.*{told}$"):
        tuned(store, world, task(stored(store, dataset("steer", items))))
    assert len(world.calls) == 30


@pytest.mark.parametrize(
    ("sizes", "given", "said"),
    [
        ({}, {"budget": 195}, "takes 196"),
        ({"validation": 7}, {}, "7 items to choose by"),
        ({"holdout": 19}, {}, "19 to judge by"),
        ({}, {"scorer": Length()}, "no least and no greatest mark"),
    ],
)
def test_what_cannot_work_is_refused(sizes: dict[str, int], given: dict[str, Any], said: str) -> None:
    """Before anything is asked."""
    store = MemoryStore()
    world = World(better)
    with pytest.raises(WrongCall, match=said):
        tuned(store, world, task(stored(store, made(**sizes)), **given))
    assert world.calls == []


def test_progress_tells_calls_and_the_best_so_far() -> None:
    """Every call is told of, out of the budget, with the best score so far."""
    store = MemoryStore()
    told: list[tuple[int, int, str]] = []
    result = tuned(store, World(better), task(stored(store)), report=lambda *said: told.append(said))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert {total for _, total, _ in told} == {600}
    assert told[-1][0] == result.calls
    assert any("best 0." in note and "today 0." in note for _, _, note in told)
    assert told[-1][2] == "judges on the holdout"


def test_training_data_without_answers_leaves_instructions() -> None:
    """Items that expect nothing become no examples; the search goes on without."""
    store = MemoryStore()
    items = [
        msgspec.structs.replace(item, expected=None) if item.part == "train" else item
        for item in made().items
    ]
    world = World(better)
    result = tuned(store, world, task(stored(store, dataset("steer", items))))
    assert all(shown(rendered(call)) == 0 for call in world.calls)
    assert result.tried >= 2


@pytest.mark.parametrize("people", [False, True])
def test_what_people_said_goes_into_no_prompt_unasked(people: bool) -> None:
    """Training items that came from a person are no examples and are not shown to the reflector, unless one
    asks for it; how many were left out is told."""
    store = MemoryStore()
    items = [
        msgspec.structs.replace(item, user="ann") if number % 2 else item
        for number, item in enumerate(made().items)
    ]
    theirs = {item.input.messages[0]["content"] for item in items if item.user}
    world = World(better, writes="Say left, right, up.")
    what = task(stored(store, dataset("steer", items)), people=people, reflector=REFLECTOR)
    result = tuned(store, world, what)
    ours = [call for call in world.calls if call.target != REFLECTOR]
    before = " ".join(str(rendered(call)[:-1]) for call in ours)
    before += " ".join(str(call.input.messages) for call in world.calls if call.target == REFLECTOR)
    assert any(f"{said}'" in before or f"{said}\\n" in before for said in theirs) is people
    assert result.left_out == (0 if people else 15)
    assert result.better


def test_a_scorer_of_which_less_is_better() -> None:
    """By how often the model refuses: the release that is found refuses less, and the gain is negative."""
    store = MemoryStore()

    class Shy(World):
        async def call(self, call: Any) -> Answer:
            said = await super().call(call)
            right = said.text == truth(call.input.messages[-1]["content"])
            return answer("Gladly: left.") if right else answer("I'm sorry, but I can't help with that.")

    result = tuned(store, Shy(better), task(stored(store), scorer=Refusal()))
    assert result.better
    assert result.chosen is not None
    assert result.chosen.score > result.today.score
    assert result.judgement is not None
    assert result.judgement.gain is not None
    assert result.judgement.gain.high < 0
