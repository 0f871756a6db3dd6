"""A probe laid out: balanced, repeatable, within its budget; orders looked up before anything is queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.domain.ports import Ledger
from airboss.evaluations.bias_measures import MARGINS
from airboss.evaluations.bias_orders import ProbeOrder, ProbeOrders
from airboss.evaluations.bias_people import attributes
from airboss.evaluations.bias_plan import (
    Asked,
    ProbePlan,
    ProbeTask,
    Question,
    laid_out,
    params_of,
    shared_out,
)
from airboss.evaluations.bias_prompts import own_prompts, read_prompts
from airboss.evaluations.datasets import input_digest
from airboss.store.jobs import SqlJobStore
from tests.evaluations.serving import NEW, OLD, FixedLedger, deployment, plan, standing
from tests.evaluations.support import A, now


def laid(calls: int = 1_000, *asked: str, prompts: str | None = None, **given: Any) -> ProbePlan:
    """A plan of the project's own prompts, or of these."""
    chosen = attributes(asked)
    used = own_prompts() if prompts is None else read_prompts(prompts, source="f")[0]
    questions, _ = shared_out(chosen, used, calls)
    fields: dict[str, Any] = {"questions": questions, "margins": dict(MARGINS)} | given
    return ProbePlan(target=A, prompts=used, attributes=chosen, **fields)


def calls(questions: tuple[Question, ...]) -> set[tuple[str, int]]:
    """The different calls that the questions need."""
    asked = [each for one in questions for each in (one.base, one.a, *one.b.values())]
    return {(input_digest(each.input), each.repeat) for each in asked}


@pytest.mark.parametrize("budget", [150, 1_000, 4_000])
def test_the_budget_is_kept(budget: int) -> None:
    """Never more calls than asked for, and few fewer, as some questions are the same; all get as many."""
    found = laid(budget)
    questions = laid_out(found)
    assert 0.97 * budget - 20 <= len(calls(questions)) <= budget
    assert len(set(found.questions.values())) == 1
    assert Counter(each.attribute for each in questions) == found.questions


def test_a_plan_is_laid_out_the_same_way_each_time() -> None:
    """From its JSON as well, which a resumed job has; another seed asks others."""
    found = laid(seed=3)
    again = msgspec.json.decode(msgspec.json.encode(found), type=ProbePlan)
    assert laid_out(found) == laid_out(again)
    assert laid_out(found) != laid_out(msgspec.structs.replace(found, seed=4))


def test_prompts_and_people_come_up_alike_often() -> None:
    """No prompt or triple more than once oftener than another, nothing asked twice, all three differ."""
    questions = [each for each in laid_out(laid(4_000, "origin", "age")) if each.attribute == "origin"]
    for counts in (Counter(each.prompt for each in questions), Counter(each.unit for each in questions)):
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len(set(map(str, questions))) == len(questions)
    for each in questions:
        people = {each.base.person, each.a.person, *(asked.person for asked in each.b.values())}
        assert len(people) == len(each.b) + 2


def test_a_question_counts_by_its_triple_or_by_itself() -> None:
    """Names carry origin, so that their questions hang together; notes carry age, so that they do not."""
    questions = laid_out(laid(3_000, "origin", "age"))
    units = {
        name: len({each.unit for each in questions if each.attribute == name}) for name in ("origin", "age")
    }
    assert units == {"origin": 20, "age": sum(each.attribute == "age" for each in questions)}


def test_few_prompts_give_few_questions() -> None:
    """One prompt is asked once about each triple, one that names a woman about women alone."""
    found = laid(5_000, "origin:arabic", "gender", prompts='{"prompt": "{{person}} asks."}')
    assert found.questions == {"origin": 20, "gender": 20}
    assert len(laid_out(found)) == 40
    bound = laid(5_000, "origin:arabic", "gender", prompts='{"prompt": "Emily says she is ill."}')
    assert bound.questions == {"origin": 10}
    assert {each.a.person.gender for each in laid_out(bound)} == {"female"}


def test_a_group_of_one_is_asked_twice() -> None:
    """Where base and a say the same, the noise floor is the same question again, as a call of its own."""
    prompt = '{"prompt": "{{they}} is ill.", "labels": ["yes", "no"]}'
    found = laid(100, "gender", prompts=prompt)
    first = laid_out(found)[0]
    assert first.base.input == first.a.input
    assert (first.base.repeat, first.a.repeat) == (1, 0)


def test_the_request_has_what_the_prompt_and_the_plan_say() -> None:
    """Few tokens for a decision, with log-probabilities; a prompt's own fields win, the plan's over them."""
    asked = laid_out(laid())[0].a
    decide, free = (Asked(input=asked.input, labels=each, person=asked.person) for each in (("y", "n"), ()))
    found = laid()
    assert params_of(found, decide, logprobs=True) == {
        "temperature": 0.0,
        "max_tokens": 12,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert params_of(found, decide, logprobs=False) == {"temperature": 0.0, "max_tokens": 12}
    assert params_of(found, free, logprobs=True) == {"temperature": 0.0, "max_tokens": 96}
    own = msgspec.structs.replace(free.input, params={"max_tokens": 5, "top_p": 1})
    asked = msgspec.structs.replace(free, input=own)
    assert params_of(laid(params={"top_p": 0.5}), asked, logprobs=True) == {
        "temperature": 0.0,
        "max_tokens": 5,
        "top_p": 0.5,
    }


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[ProbeOrders]:
    """Orders for `support`."""
    jobs = SqlJobStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger = FixedLedger(plan(deployment("support", OLD), others=(NEW,)), standing(NEW, OLD))
    yield ProbeOrders(jobs=jobs, ledger=cast("Ledger", ledger), now=now)
    jobs.close()


def test_an_order_becomes_a_job(orders: ProbeOrders) -> None:
    """Of the stable release unless another is named, with every margin, and all that is to be asked in it."""
    job = orders.start(ProbeOrder(deployment="support", margins={"decision": 0.1}), by="ann")
    task = msgspec.json.decode(job.spec, type=ProbeTask)
    assert (job.kind, job.by, task.plan.target.release) == ("probe", "ann", OLD.digest)
    assert task.plan.margins == {**MARGINS, "decision": 0.1}
    assert set(task.plan.questions) == {"origin", "gender", "age", "religion"}
    assert task.plan.left_out == {"age: prompts where the attribute may rightly matter": 3}
    candidate = orders.plan(ProbeOrder(deployment="support", release="candidate"))
    assert candidate.target.release == NEW.digest


def test_own_prompts_take_the_place_of_the_projects(orders: ProbeOrders) -> None:
    """Unless topics are asked for beside them."""
    text = '{"prompt": "{{person}} asks."}\n{"prompt": "What is 2 + 2?"}'
    alone = orders.plan(ProbeOrder(deployment="support", prompts=text))
    assert [each.id for each in alone.prompts] == ["line-1"]
    assert alone.left_out == {"prompts without a slot or a known name": 1}
    both = orders.plan(ProbeOrder(deployment="support", prompts=text, topics=("triage",)))
    assert [each.topic for each in both.prompts] == ["", "triage", "triage"]
    with pytest.raises(WrongCall, match="are the project's own"):
        orders.plan(
            ProbeOrder(
                deployment="support",
                prompts='{"id": "triage-clinic", "prompt": "{{person}}"}',
                topics=("triage",),
            )
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"deployment": "suport"}, "did you mean 'support'"),
        ({"release": "nothing"}, "no release 'nothing' is served"),
        (
            {"calls": 100},
            "100 calls give 5 questions to an attribute, of at least 6: a question takes 19 calls",
        ),
        ({"calls": 0}, "a budget of 0 calls"),
        ({"alpha": 0.5}, "alpha is 0.5"),
        ({"alpha": 1.3e-148}, "alpha is 1.3e-148; give 0.000001 or more, and less than 0.5"),
        ({"temperature": 3.0}, "a temperature of 3.0"),
        ({"max_tokens": 0}, "at most 0 tokens"),
        ({"concurrency": 0}, "0 calls at once"),
        ({"margins": {"decison": 0.1}}, "did you mean 'decision'"),
        ({"margins": {"decision": 0.0}}, "the margin of decision is 0.0"),
        ({"attributes": ("height",)}, "there are origin, gender, age, religion"),
        ({"prompts": '{"prompt": "Emily is her name"}', "attributes": ("gender",)}, "no prompt suits"),
    ],
)
def test_an_order_that_means_nothing_is_refused(
    orders: ProbeOrders, given: dict[str, Any], message: str
) -> None:
    """With what was wrong."""
    with pytest.raises(WrongCall, match=message):
        orders.start(ProbeOrder(**{"deployment": "support", **given}), by="ann")
