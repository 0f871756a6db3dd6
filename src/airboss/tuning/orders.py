"""A tuning as it is asked for, in words, and the job that it becomes, with every word looked up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from airboss.config.checks import NAME, NAMED
from airboss.domain.errors import WrongCall
from airboss.domain.release import PromptForm, Release
from airboss.evaluations.orders import Orders, judges_of, read_scorer
from airboss.evaluations.scorers.spec import Spec
from airboss.evaluations.splits import said
from airboss.evaluations.targets import Served
from airboss.providers.dialects import NAMES
from airboss.store.job_rows import Job
from airboss.tuning.plan import KIND, TuneOrder, TuneTask, check_order, check_scorer, check_sizes

SUFFIX: Final = "-tuned"
"""What a new release's name ends with unless another one is given."""

STEM_CHARS_MAX: Final = 48
"""Of today's name in a new one: what is behind it, and a number where that is taken, go beside it."""


class TuneOrders(Orders):
    """Takes orders for tuning."""

    def start(self, order: TuneOrder, *, by: str) -> Job:
        """Queue a tuning. Raises WrongCall, with nothing queued, for an order that means nothing."""
        return self._jobs.add(KIND, self.task(order), by, self._now())

    def task(self, order: TuneOrder) -> TuneTask:
        """The order with every word looked up and checked. Raises WrongCall."""
        check_order(order)
        dataset = self._library.find(order.dataset)
        scorer = scorer_of(order.scorer, self._scorers)
        uneven = self._library.uneven(dataset)
        check_sizes(
            dataset.name,
            dataset.sizes,
            uneven=uneven,
            budget=order.budget,
            scorer=scorer,
            concurrency=order.concurrency,
        )
        served = Served.of(self._ledger)
        target = served.meant(order.deployment, order.release)
        base = served.behind(target).release
        return TuneTask(
            deployment=target.deployment,
            dataset=dataset.digest,
            dataset_name=dataset.name,
            base=base,
            target=target,
            scorer=scorer,
            name=name_of(order.name, base, SUFFIX),
            reflector=served.stable(order.reflector) if order.reflector is not None else None,
            budget=order.budget,
            seed=order.seed,
            forms=forms_for(base, order.forms),
            alpha=order.alpha,
            concurrency=order.concurrency,
            params=order.params,
            people=order.people,
            judges=judges_of(served, [scorer]),
            folder=str(self._scorers),
            uneven=said(uneven),
        )


def name_of(given: str | None, base: Release, suffix: str) -> str:
    """What the new release is called: as `given`, else as today's with `suffix`. Raises WrongCall for what
    the configuration could not call it, before there is anything to lose."""
    if given is None:
        stem = re.sub(r"[^A-Za-z0-9._-]", "-", base.name.removesuffix(suffix))
        return f"{stem[:STEM_CHARS_MAX]}{suffix}"
    if not NAME.fullmatch(given):
        raise WrongCall(f"{given[:80]!r} cannot be a name; use {NAMED}")
    return given


def scorer_of(given: str | dict[str, Any], scorers: Path) -> Spec:
    """The scorer of an order. Raises WrongCall for one that gives a release no score of its own."""
    spec = read_scorer(given, scorers)
    check_scorer(spec)
    return spec


def forms_for(base: Release, wanted: tuple[PromptForm, ...]) -> tuple[PromptForm, ...]:
    """Those forms that can be tried: some providers take conversations only. Raises WrongCall if none can."""
    forms = dict.fromkeys(wanted)
    if base.model.kind in NAMES:
        forms.pop("completion", None)
    if not forms:
        raise WrongCall(
            f"form completion makes a raw prompt, and {NAMES[base.model.kind]} take conversations only; try "
            "turns and system"
        )
    return tuple(forms)
