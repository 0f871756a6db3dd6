"""A probe of bias at work: every call once, and gone on with after every crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.evaluations.bias_measures import Contrast, Finding, Measure, Reading, Trial, findings
from airboss.evaluations.bias_plan import (
    EXAMPLES_MAX,
    Asked,
    Conclusion,
    Example,
    ProbePlan,
    ProbeReport,
    ProbeTask,
    Question,
    laid_out,
    params_of,
)
from airboss.evaluations.bias_reading import read
from airboss.evaluations.datasets import input_digest
from airboss.evaluations.paid_once import PaidOnce
from airboss.evaluations.ports import Answer, Call, Caller, EvalStore, Report
from airboss.store.job_rows import Job

SHOWN_CHARS: Final = 160
COST_DIGITS: Final = 6

Key = tuple[str, int]
"""A call by its question's digest and its repeat."""


async def probe(
    job: Job, *, store: EvalStore, caller: Caller, now: Callable[[], datetime], report: Report
) -> ProbeReport:
    """Do the job's probe, or what is left of it. Raises UpstreamFailed where nothing was answered, SetupError
    if the store fails; what `report` raises passes through."""
    task = msgspec.json.decode(job.spec, type=ProbeTask)
    asking = _Asking(task.plan, PaidOnce(caller, store, now), report)
    questions = laid_out(task.plan)
    await asking.ask(questions, concurrency=task.concurrency)
    return await asyncio.to_thread(asking.report, questions)


class _Asking:
    """The calls of one process, and what came of them."""

    def __init__(self, plan: ProbePlan, caller: PaidOnce, report: Report) -> None:
        self._plan = plan
        self._caller = caller
        self._report = report
        self._readings: dict[Key, Reading | None] = {}
        self._said: dict[Key, str] = {}
        self._odds_refused: str | None = None
        self._decisions = self._with_odds = 0
        self._errors = self._answers = 0
        self._first_error: str | None = None
        self._input_tokens = self._output_tokens = self._cost_unknown = 0
        self._cost_usd = Decimal(0)

    async def ask(self, questions: tuple[Question, ...], *, concurrency: int) -> None:
        """Make every call that the questions need."""
        wanted = {_key(asked): asked for question in questions for asked in _all(question)}
        work = iter(wanted.items())
        self._report(0, len(wanted), "")
        workers = [asyncio.create_task(self._work(work, len(wanted))) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, work: Iterator[tuple[Key, Asked]], total: int) -> None:
        for key, asked in work:
            answer = await self._once(asked, key)
            self._take(key, asked, answer)
            self._report(len(self._readings), total, self._note())

    async def _once(self, asked: Asked, key: Key) -> Answer:
        odds = self._odds_refused is None
        answer = await self._caller.call(self._call(asked, key, logprobs=odds))
        if odds and asked.labels and answer.error is not None and "logprob" in answer.error.lower():
            # Some refuse a request that asks for what they do not give.
            self._odds_refused = self._odds_refused or answer.error
            answer = await self._caller.call(self._call(asked, key, logprobs=False))
        return answer

    def _call(self, asked: Asked, key: Key, *, logprobs: bool) -> Call:
        return Call(
            target=self._plan.target,
            input=asked.input,
            subject=key[0],
            params=params_of(self._plan, asked, logprobs=logprobs),
            repeat=asked.repeat,
        )

    def _take(self, key: Key, asked: Asked, answer: Answer) -> None:
        reading = read(answer, asked.labels)
        self._readings[key] = reading
        self._said[key] = (answer.text or answer.refusal or answer.error or "")[:SHOWN_CHARS]
        if answer.error is not None:
            self._errors += 1
            self._first_error = self._first_error or answer.error
            return
        self._answers += 1
        if asked.labels:
            self._decisions += 1
            self._with_odds += reading is not None and reading.log_odds is not None
        self._input_tokens += answer.input_tokens or 0
        self._output_tokens += answer.output_tokens or 0
        self._cost_usd += answer.cost_usd or Decimal(0)
        self._cost_unknown += answer.cost_usd is None

    def _note(self) -> str:
        words = [f"{self._caller.paid} asked", f"{self._caller.reused} from before"]
        if self._errors:
            words.append(f"{self._errors} without an answer")
        if self._caller.cost_usd:
            words.append(f"{round(self._caller.cost_usd, COST_DIGITS).normalize():f} USD")
        return ", ".join(words)

    def report(self, questions: tuple[Question, ...]) -> ProbeReport:
        """What all the answers say. Raises UpstreamFailed where there are none."""
        plan = self._plan
        if not self._answers:
            raise UpstreamFailed(
                f"release {plan.target.name or plan.target.release[:12]} answered none of {self._errors} "
                f"calls: {self._first_error}"
            )
        found = findings(
            [
                self._contrast(attribute.name, attribute.reference, group, questions)
                for attribute in plan.attributes
                if attribute.name in plan.questions
                for group in attribute.groups
            ],
            margins=plan.margins,
            alpha=plan.alpha,
            seed=plan.seed,
            missing=self._missing(),
        )
        return ProbeReport(
            conclusion=_conclusion(found),
            findings=found,
            tests=sum(each.p_value is not None for each in found),
            calls=len(self._readings),
            errors=self._errors,
            first_error=self._first_error,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost_usd=self._cost_usd,
            cost_unknown=self._cost_unknown,
            logprobs=self._missing().get("log_odds"),
            examples=tuple(self._examples(questions)),
        )

    def _missing(self) -> Mapping[Measure, str]:
        """Why measures have no values, where all of them have none."""
        if self._with_odds or not self._decisions:
            return {}
        if self._odds_refused is not None:
            return {"log_odds": f"the deployment refuses to give log-probabilities: {self._odds_refused}"}
        return {"log_odds": "the deployment gives no log-probabilities of the answers asked for"}

    def _contrast(
        self, attribute: str, reference: str, group: str, questions: tuple[Question, ...]
    ) -> Contrast:
        trials = tuple(
            Trial(
                unit=each.unit,
                base=self._readings[_key(each.base)],
                a=self._readings[_key(each.a)],
                b=self._readings[_key(each.b[group])],
            )
            for each in questions
            if each.attribute == attribute
        )
        return Contrast(attribute=attribute, reference=reference, group=group, trials=trials)

    def _examples(self, questions: tuple[Question, ...]) -> Iterator[Example]:
        """Some questions that came out otherwise, of every group in turn."""
        by_group: dict[tuple[str, str], list[Example]] = {}
        for question in questions:
            a = _key(question.a)
            for group, asked in question.b.items():
                b = _key(asked)
                if _differ(self._readings[a], self._readings[b]):
                    by_group.setdefault((question.attribute, group), []).append(
                        Example(
                            attribute=question.attribute,
                            group=group,
                            prompt=question.prompt,
                            a=question.a.person.full,
                            b=asked.person.full,
                            answer_a=self._said[a],
                            answer_b=self._said[b],
                        )
                    )
        shown = 0
        for turn in range(EXAMPLES_MAX):
            for examples in by_group.values():
                if turn < len(examples) and shown < EXAMPLES_MAX:
                    shown += 1
                    yield examples[turn]


def _all(question: Question) -> tuple[Asked, ...]:
    return (question.base, question.a, *question.b.values())


def _key(asked: Asked) -> Key:
    return input_digest(asked.input), asked.repeat


def _differ(a: Reading | None, b: Reading | None) -> bool:
    if a is None or b is None:
        return False
    return (a.favourable, a.declined) != (b.favourable, b.declined)


def _conclusion(found: tuple[Finding, ...]) -> Conclusion:
    verdicts = {each.verdict for each in found if each.verdict != "unmeasured"}
    if "different" in verdicts:
        return "found"
    return "equivalent" if verdicts == {"equivalent"} else "none_found"
