"""What a tuning is to do, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.release import PromptForm, Release
from airboss.evaluations.datasets import Json
from airboss.evaluations.intervals import odd_alpha
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge
from airboss.evaluations.scorers.spec import Spec
from airboss.evaluations.splits import Uneven, because
from airboss.store.wording import many
from airboss.tuning.acceptance import UNITS_MIN, Judgement
from airboss.tuning.board import Reflections, Standing
from airboss.tuning.candidates import FORMS

KIND: Final = "tune"
"""Of the job."""

BUDGET: Final = 2_000
BUDGET_MAX: Final = 1_000_000
CONCURRENCY: Final = 4
CONCURRENCY_MAX: Final = 64
VALIDATION_MIN: Final = 8

SPARE: Final = 4
"""Times the calls at once: kept back for those that a crash loses, which have to be made again."""


class TuneOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning as somebody asks for it.

    `dataset` is a name or digest; `release` the one to begin with and to beat, a name or digest, by default
    what `deployment` serves. A scorer is written as on the command line, or as a table. `reflector` is the
    deployment that writes instructions; without one they are made from today's and from the answers that
    there are. `budget` is the most calls, of every kind. `forms` are the prompt forms to try, all unless
    given. `name` is the new release's, `RELEASE-tuned` unless given. `params` go into every request. With
    `people`, items that came from people may be shown as examples too: a release keeps them for ever.
    """

    deployment: str
    dataset: str
    release: str | None = None
    scorer: str | dict[str, Any] = "exact"
    reflector: str | None = None
    budget: int = BUDGET
    seed: int = 0
    name: str | None = None
    forms: tuple[PromptForm, ...] = FORMS
    alpha: float = 0.05
    concurrency: int = CONCURRENCY
    params: Json = {}
    people: bool = False


class TuneTask(msgspec.Struct, frozen=True, kw_only=True):
    """The `spec` of a job of kind `tune`: the order with every word looked up, so that it means the same
    after a crash.

    `dataset` is a digest, `base` today's release and `target` the way to it. `judges` are the releases
    of judging deployments, `folder` is what paths of scorers are relative to. `uneven` says which parts of
    the dataset are too small for what was asked for, and what helps.
    """

    deployment: str
    dataset: str
    dataset_name: str
    base: Release
    target: Target
    scorer: Spec
    name: str
    reflector: Target | None = None
    budget: int = BUDGET
    seed: int = 0
    forms: tuple[PromptForm, ...] = FORMS
    alpha: float = 0.05
    concurrency: int = CONCURRENCY
    params: Json = {}
    people: bool = False
    judges: dict[str, Target] = {}
    folder: str = "."
    uneven: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to, kept before the holdout is opened: nothing else is judged, whatever happens.

    `release` is None where nothing was better than `today` on validation. `candidates` are all that were
    asked all of validation, the best first; `tried` counts those that were asked anything. `left_out` items
    of the train part were used for nothing, because they came from people.
    """

    release: Release | None
    today: Standing
    chosen: Standing | None
    candidates: tuple[Standing, ...]
    tried: int
    left_out: int = 0
    reflections: Reflections | None = None


class TuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """The `result` of a job of kind `tune`.

    `better`: the holdout shows that `release` beats today's; it then stands in the configuration as
    `[releases.PROPOSED]`, ready for a rollout, or `unproposed` says why it could not be put there. `reason`
    says in words what came out. `today` and `chosen` are what validation said; `judgement` is None where
    nothing got as far as the holdout, which then stayed closed. `frontier` is what more tokens buy. `calls`
    of `budget` were made, `cost_usd` is what the answers cost where the price is known, `cost_unknown` counts
    those where it is not. `left_out` items of the train part came from people and were not used.
    `reflections` is None where there is no reflector.
    """

    better: bool
    reason: str
    deployment: str
    dataset: str
    base: Target
    release: Release | None
    proposed: str | None
    unproposed: str | None
    today: Standing
    chosen: Standing | None
    judgement: Judgement | None
    frontier: tuple[Standing, ...]
    candidates: tuple[Standing, ...]
    tried: int
    calls: int
    budget: int
    cost_usd: Decimal
    cost_unknown: int
    seed: int
    left_out: int = 0
    reflections: Reflections | None = None


def check_order(order: TuneOrder) -> None:
    """Raises WrongCall for numbers and forms that mean nothing."""
    unknown = sorted(set(order.forms) - set(FORMS))
    wrong = [
        (not 1 <= order.budget <= BUDGET_MAX, f"a budget of {order.budget}; give 1 to {BUDGET_MAX:,} calls"),
        odd_alpha(order.alpha),
        (
            not 1 <= order.concurrency <= CONCURRENCY_MAX,
            f"{order.concurrency} calls at once; give 1 to {CONCURRENCY_MAX}",
        ),
        (not order.forms or bool(unknown), f"forms {unknown}; there are {', '.join(FORMS)}"),
    ]
    for is_wrong, message in wrong:
        if is_wrong:
            raise WrongCall(message)


def check_scorer(scorer: Spec) -> None:
    """Raises WrongCall for a scorer that a search cannot use."""
    if isinstance(scorer, PairwiseJudge):
        raise WrongCall(
            "a pairwise judge compares two answers and gives neither a score of its own; tune by another "
            "scorer, llm_judge for one"
        )


def check_sizes(
    name: str,
    sizes: dict[str, int],
    *,
    uneven: Sequence[Uneven],
    budget: int,
    scorer: Spec,
    concurrency: int,
) -> None:
    """Raises WrongCall where the dataset is too small, or the budget for it."""
    if sizes["validation"] < VALIDATION_MIN or sizes["holdout"] < UNITS_MIN:
        raise WrongCall(
            f"dataset {name!r} has {many(sizes['validation'], 'item')} to choose by (validation) and "
            f"{sizes['holdout']} to judge by (holdout); tuning needs {VALIDATION_MIN} and {UNITS_MIN}"
            + because(uneven, "validation", "holdout")
        )
    least = held_back(sizes["holdout"], scorer, concurrency) + 2 * per_item(scorer) * sizes["validation"]
    if budget < least:
        raise WrongCall(
            f"a budget of {many(budget, 'call')} is too small for dataset {name!r}: judging on the holdout, "
            f"and asking all of validation twice, takes {least}; give that at least, {2 * least} to "
            "search well"
        )


def per_item(scorer: Spec) -> int:
    """The most calls that an answer to one item takes, with its judge's."""
    return 2 if isinstance(scorer, LlmJudge) else 1


def held_back(holdout: int, scorer: Spec, concurrency: int) -> int:
    """The calls that a search may not touch: the judgement's, and some for what a crash loses."""
    return 2 * per_item(scorer) * holdout + SPARE * concurrency
