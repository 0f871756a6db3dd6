"""A probe of bias as it is asked for, in words, and the job that it becomes, with every word looked up."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from airboss.config import Config
from airboss.config.locate import line_of
from airboss.domain.errors import ConfigError, WrongCall
from airboss.domain.ports import Ledger
from airboss.evaluations.bias_measures import MARGINS, MEASURES, UNITS_MIN, Measure
from airboss.evaluations.bias_people import Attribute, attributes
from airboss.evaluations.bias_plan import (
    CALLS,
    CALLS_MAX,
    CONCURRENCY,
    CONCURRENCY_MAX,
    KIND,
    ProbePlan,
    ProbeTask,
    shared_out,
)
from airboss.evaluations.bias_prompts import ProbePrompt, own_prompts, read_prompts
from airboss.evaluations.datasets import Json
from airboss.evaluations.intervals import odd_alpha
from airboss.evaluations.targets import Served
from airboss.store.job_rows import Job, JobStore
from airboss.store.wording import many

MAX_TOKENS_MAX: Final = 4_096


class ProbeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A probe as somebody asks for it.

    `release` is a name or digest, `stable` or `candidate`; left out, the deployment's stable release.
    `attributes` are NAME or NAME:GROUP,GROUP; none: all. `prompts` is the text of a file of prompts
    (`source` names it in messages), in place of the project's own; `topics` chooses among those, and with
    `prompts` adds them. At most `calls` calls are made. `margins` replaces some of the usual ones.
    """

    deployment: str
    release: str | None = None
    attributes: tuple[str, ...] = ()
    prompts: str | None = None
    source: str = "the prompts"
    topics: tuple[str, ...] = ()
    calls: int = CALLS
    seed: int = 0
    alpha: float = 0.05
    margins: dict[str, float] = {}
    temperature: float = 0.0
    max_tokens: int | None = None
    params: Json = {}
    concurrency: int = CONCURRENCY


class ProbeOrders:
    """Takes orders."""

    def __init__(self, *, jobs: JobStore, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._now = now

    def start(self, order: ProbeOrder, *, by: str, job_id: str | None = None) -> Job:
        """Queue a probe. `job_id` as of `JobStore.add`. Raises WrongCall, with nothing queued, for an order
        that means nothing."""
        task = ProbeTask(plan=self.plan(order), concurrency=order.concurrency)
        return self._jobs.add(KIND, task, by, self._now(), job_id=job_id)

    def plan(self, order: ProbeOrder) -> ProbePlan:
        """The order with every word looked up and checked. Raises WrongCall."""
        made = chosen(order)
        return ProbePlan(
            target=Served.of(self._ledger).meant(order.deployment, order.release),
            prompts=made.prompts,
            attributes=made.attributes,
            questions=made.questions,
            margins=made.margins,
            alpha=order.alpha,
            seed=order.seed,
            temperature=order.temperature,
            max_tokens=order.max_tokens,
            params=order.params,
            left_out=made.left_out,
        )


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What an order asks, whoever is asked: as in the plan."""

    prompts: tuple[ProbePrompt, ...]
    attributes: tuple[Attribute, ...]
    questions: dict[str, int]
    margins: dict[Measure, float]
    left_out: dict[str, int]


def read_order(settings: Mapping[str, object], deployment: str, *, seed: int = 0) -> ProbeOrder:
    """The order that an alarm's `probe` gives. Raises WrongCall."""
    try:
        return msgspec.convert({**settings, "deployment": deployment, "seed": seed}, ProbeOrder)
    except msgspec.ValidationError as error:
        raise WrongCall(f"the probe's settings are wrong: {error}") from error


def check_probes(config: Config, was: Config, *, text: str, source: str) -> None:
    """Look at the probe of every alarm as if to begin it, but of those that were so before. Raises
    ConfigError, naming the line, for one that could not be."""
    for name, alarm in config.alarms.items():
        if alarm.probe is None or alarm == was.alarms.get(name):
            continue
        try:
            chosen(read_order(alarm.probe, alarm.deployment or ""))
        except WrongCall as error:
            line = line_of(text, ("alarms", name, "probe"))
            raise ConfigError(f"{source}:{line}: alarms.{name}.probe: {error}") from error


def chosen(order: ProbeOrder) -> Chosen:
    """The prompts and people of an order, checked. Raises WrongCall."""
    _check(order)
    people = attributes(order.attributes)
    prompts, left_out = _prompts(order)
    questions, unsuited = shared_out(people, prompts, order.calls)
    if not questions:
        causes = "; ".join(f"{count} {why}" for why, count in unsuited.items())
        raise WrongCall(f"no prompt suits any attribute: {causes}")
    if min(questions.values()) < UNITS_MIN:
        each = sum(attribute.calls for attribute in people if attribute.name in questions)
        raise WrongCall(
            f"{many(order.calls, 'call')} give {many(min(questions.values()), 'question')} to an attribute, "
            f"of at least {UNITS_MIN}: a question takes {each} calls here; give more --calls, fewer "
            "attributes or groups, or more prompts"
        )
    return Chosen(
        prompts=prompts,
        attributes=people,
        questions=questions,
        margins=_margins(order.margins),
        left_out={**{f"prompts {why}": count for why, count in left_out.items()}, **unsuited},
    )


def _check(order: ProbeOrder) -> None:
    if not 1 <= order.calls <= CALLS_MAX:
        raise WrongCall(f"a budget of {order.calls} calls; give 1 to {CALLS_MAX:,}")
    odd, why = odd_alpha(order.alpha)
    if odd:
        raise WrongCall(why)
    if not 1 <= order.concurrency <= CONCURRENCY_MAX:
        raise WrongCall(f"{order.concurrency} calls at once; give 1 to {CONCURRENCY_MAX}")
    if not 0 <= order.temperature <= 2:
        raise WrongCall(f"a temperature of {order.temperature}; give 0 to 2")
    if order.max_tokens is not None and not 1 <= order.max_tokens <= MAX_TOKENS_MAX:
        raise WrongCall(f"at most {order.max_tokens} tokens; give 1 to {MAX_TOKENS_MAX:,}")


def _prompts(order: ProbeOrder) -> tuple[tuple[ProbePrompt, ...], Mapping[str, int]]:
    """Those of the order, and how many of them were left out for which reason."""
    if order.prompts is None:
        return own_prompts(order.topics), {}
    given, left_out = read_prompts(order.prompts, source=order.source)
    if not order.topics:
        return given, left_out
    own = own_prompts(order.topics)
    same = {each.id for each in own} & {each.id for each in given}
    if same:
        raise WrongCall(f"the ids {sorted(same)} are the project's own; give others")
    return (*given, *own), left_out


def _margins(given: Mapping[str, float]) -> dict[Measure, float]:
    for name, margin in given.items():
        if name not in MEASURES:
            near = difflib.get_close_matches(name, MEASURES, n=1)
            raise WrongCall(
                f"no measure is called {name!r}; there are {', '.join(MEASURES)}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if not 0 < margin < math.inf:
            raise WrongCall(f"the margin of {name} is {margin}; give a number above 0")
    return {measure: given.get(measure, MARGINS[measure]) for measure in MEASURES}
