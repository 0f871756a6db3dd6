"""A probe of bias laid out: which question is asked about whom, from a seed alone, and what comes of it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from airboss.evaluations.bias_measures import Finding, Measure
from airboss.evaluations.bias_people import Attribute, Person, Triple
from airboss.evaluations.bias_prompts import ProbePrompt, fits, rendered, suits
from airboss.evaluations.datasets import Input, Json
from airboss.evaluations.ports import Target

KIND: Final = "probe"
"""Of the job."""

CALLS: Final = 1_000
CALLS_MAX: Final = 200_000
CONCURRENCY: Final = 8
CONCURRENCY_MAX: Final = 64
DECISION_TOKENS: Final = 12
FREE_TOKENS: Final = 96
EXAMPLES_MAX: Final = 12
LOGPROBS: Final = 20
"""Alternatives asked for at each token: the most that OpenAI gives."""

Conclusion = Literal["found", "none_found", "equivalent"]
"""`found`: a difference is shown. `equivalent`: every one lies within its margin. `none_found`: neither."""


class ProbePlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what is asked and how it is judged; prompts and people stand in it, so that a later
    version with others goes on as it was begun.

    `questions` is how many each attribute gets. `params` go into every request, over `temperature` and
    `max_tokens` (None: DECISION_TOKENS or FREE_TOKENS). `left_out` counts prompts by reason.
    """

    target: Target
    prompts: tuple[ProbePrompt, ...]
    attributes: tuple[Attribute, ...]
    questions: dict[str, int]
    margins: dict[Measure, float]
    alpha: float = 0.05
    seed: int = 0
    temperature: float = 0.0
    max_tokens: int | None = None
    params: Json = {}
    left_out: dict[str, int] = {}


class ProbeTask(msgspec.Struct, frozen=True, kw_only=True):
    """The `spec` of a job of kind `probe`."""

    plan: ProbePlan
    concurrency: int = CONCURRENCY


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A question that came out otherwise for `b` than for `a`: whom it was about, and what was answered."""

    attribute: str
    group: str
    prompt: str
    a: str
    b: str
    answer_a: str
    answer_b: str


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The `result` of a job of kind `probe`.

    `calls` were needed, of which `errors` failed (`first_error` is the first cause). `cost_usd` is what the
    answers cost where the price is known, also those from before. `tests` is how many p-values were corrected
    together. `logprobs` says why there are no log-odds, None where there are.
    """

    conclusion: Conclusion
    findings: tuple[Finding, ...]
    tests: int
    calls: int
    errors: int
    first_error: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    cost_unknown: int
    logprobs: str | None
    examples: tuple[Example, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One call: a question about a person. `repeat` tells the second of two that ask the same apart."""

    input: Input
    labels: tuple[str, ...]
    person: Person
    repeat: int = 0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt asked about the three of a triple; `unit` is what counts once, `b` is by group."""

    attribute: str
    unit: int
    prompt: str
    base: Asked
    a: Asked
    b: dict[str, Asked]


def shared_out(
    attributes: Sequence[Attribute], prompts: Sequence[ProbePrompt], calls: int
) -> tuple[dict[str, int], dict[str, int]]:
    """How many questions each attribute gets for at most so many calls, each the same number unless prompts
    and people give fewer; and how many prompts are left out of an attribute, by reason."""
    left_out: Counter[str] = Counter()
    usable: dict[str, list[ProbePrompt]] = {}
    for attribute in attributes:
        for prompt in prompts:
            why = suits(prompt, attribute)
            if why is None:
                usable.setdefault(attribute.name, []).append(prompt)
            else:
                left_out[f"{attribute.name}: prompts {why}"] += 1
    found = [each for each in attributes if each.name in usable]
    each_gets = calls // sum(attribute.calls for attribute in found) if found else 0
    room = {attribute.name: _room(attribute, usable[attribute.name]) for attribute in found}
    return {name: min(each_gets, most) for name, most in room.items()}, dict(left_out)


def _room(attribute: Attribute, prompts: Sequence[ProbePrompt]) -> int:
    """How many different questions there are."""
    return sum(
        len(prompt.variants) * sum(fits(prompt, triple.gender) for triple in attribute.triples)
        for prompt in prompts
    )


def laid_out(plan: ProbePlan) -> tuple[Question, ...]:
    """Every question of the plan, always the same ones in the same order."""
    return tuple(
        question
        for attribute in plan.attributes
        if attribute.name in plan.questions
        for question in itertools.islice(_questions(plan, attribute), plan.questions[attribute.name])
    )


def _questions(plan: ProbePlan, attribute: Attribute) -> Iterator[Question]:
    """The questions about an attribute: prompts in turn, each with its variants in turn, triples drawn so
    that each comes up as often as any other."""
    rng = random.Random(f"{plan.seed} {attribute.name}")  # noqa: S311 - a seeded draw, to be repeated
    prompts = [each for each in plan.prompts if suits(each, attribute) is None]
    variants = {each.id: _shuffled(each.variants, rng) for each in prompts}
    # How often each has been taken, and what has been asked about whom.
    taken: Counter[str] = Counter()
    asked: set[tuple[str, int, int]] = set()
    waiting: list[int] = []
    for number in itertools.count():
        if not prompts:
            return
        prompt = prompts[number % len(prompts)]
        chosen = None
        for _ in variants[prompt.id]:
            at = taken[prompt.id] % len(variants[prompt.id])
            taken[prompt.id] += 1
            chosen = _next(prompt, at, attribute.triples, waiting=waiting, asked=asked, rng=rng)
            if chosen is not None:
                asked.add((prompt.id, at, chosen))
                variant = variants[prompt.id][at]
                triple = attribute.triples[chosen]
                unit = chosen if attribute.unit == "triple" else len(asked)
                yield _question(prompt, triple, variant, attribute=attribute.name, unit=unit)
                break
        if chosen is None:
            prompts.remove(prompt)


def _next(
    prompt: ProbePrompt,
    at: int,
    triples: Sequence[Triple],
    *,
    waiting: list[int],
    asked: set[tuple[str, int, int]],
    rng: random.Random,
) -> int | None:
    """The next triple that the prompt's variant was not asked about; None where it was about all."""
    left = {
        index
        for index, triple in enumerate(triples)
        if fits(prompt, triple.gender) and (prompt.id, at, index) not in asked
    }
    if not left:
        return None
    if not left.intersection(waiting):
        waiting += _shuffled(range(len(triples)), rng)
    chosen = next(index for index in waiting if index in left)
    waiting.remove(chosen)
    return chosen


def _shuffled(values: Sequence[Any], rng: random.Random) -> list[Any]:
    return rng.sample(list(values), len(values))


def _question(
    prompt: ProbePrompt, triple: Triple, variant: Mapping[str, str], *, attribute: str, unit: int
) -> Question:
    def asked(person: Person) -> Asked:
        return Asked(input=rendered(prompt, person, variant), labels=prompt.labels, person=person)

    base, a = asked(triple.base), asked(triple.a)
    if base.input == a.input:
        # A group of one: the noise floor is the same question asked again.
        base = msgspec.structs.replace(base, repeat=1)
    return Question(
        attribute=attribute,
        unit=unit,
        prompt=prompt.id,
        base=base,
        a=a,
        b={group: asked(person) for group, person in triple.b.items()},
    )


def params_of(plan: ProbePlan, asked: Asked, *, logprobs: bool) -> Json:
    """What goes into a call's request beside its question. A prompt's own fields win, the plan's over all."""
    tokens = plan.max_tokens or (DECISION_TOKENS if asked.labels else FREE_TOKENS)
    params: Json = {"temperature": plan.temperature, "max_tokens": tokens}
    if asked.labels and logprobs:
        params |= {"logprobs": True, "top_logprobs": LOGPROBS}
    return {**params, **asked.input.params, **plan.params}
