"""What a fine-tuning is to do, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.release import Policy, ProviderKind, Release
from airboss.evaluations.datasets import Json
from airboss.evaluations.intervals import odd_alpha
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.spec import Spec
from airboss.evaluations.splits import Uneven, because
from airboss.store.wording import many
from airboss.tuning.acceptance import UNITS_MIN, Judgement
from airboss.tuning.plan import CONCURRENCY, CONCURRENCY_MAX
from airboss.tuning.ports import Trained

if TYPE_CHECKING:
    from airboss.tuning.examples import Lines

KIND: Final = "finetune"
"""Of the job."""

EPOCHS: Final = 3
EPOCHS_MAX: Final = 50
RANK: Final = 8
RANK_MAX: Final = 256
EXAMPLES_MIN: Final = 10
"""OpenAI takes no fewer."""


class FinetuneOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fine-tuning as somebody asks for it.

    `dataset` is a name or digest; `release` the one whose model is trained and which is to be beaten, a name
    or digest, by default what `deployment` serves. A scorer is written as on the command line, or as a table.
    `learning_rate` None leaves it to the trainer; of a hosted model it multiplies the provider's own. `rank`
    is of the adapter of a local model. `name` is the new model's and the new release's,
    `RELEASE-finetuned` unless given. `params` go into every request of the judgement. With `people`, the
    model learns from items that came from people too: it never forgets them.
    """

    deployment: str
    dataset: str
    release: str | None = None
    scorer: str | dict[str, Any] = "exact"
    epochs: int = EPOCHS
    learning_rate: float | None = None
    rank: int = RANK
    seed: int = 0
    name: str | None = None
    alpha: float = 0.05
    concurrency: int = CONCURRENCY
    params: Json = {}
    people: bool = False


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is trained; `base_url` is None for local ones. The key is a reference, not the secret."""

    provider: str
    kind: ProviderKind
    base_url: str | None = None
    api_key_ref: str | None = None


class FinetuneTask(msgspec.Struct, frozen=True, kw_only=True):
    """The `spec` of a job of kind `finetune`: the order with every word looked up, so that it means the same
    after a crash.

    `dataset` is a digest, `base` today's release and `target` the way to it; `policy` is its deployment's.
    `judges` are the releases of judging deployments, `folder` is what paths of scorers are relative to.
    `uneven` says which parts of the dataset are too small for what was asked for, and what helps.
    """

    deployment: str
    dataset: str
    dataset_name: str
    base: Release
    target: Target
    place: Place
    scorer: Spec
    name: str
    policy: Policy | None = None
    epochs: int = EPOCHS
    learning_rate: float | None = None
    rank: int = RANK
    seed: int = 0
    alpha: float = 0.05
    concurrency: int = CONCURRENCY
    params: Json = {}
    people: bool = False
    judges: dict[str, Target] = {}
    folder: str = "."
    uneven: tuple[str, ...] = ()


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What a training came to, kept before the holdout is opened: it is not done again, whatever happens.

    Of the train part `examples` were learnt from and of validation `validation`; `left_out` items came from
    people, of `unfit` ones no example could be made.
    """

    release: Release
    trained: Trained
    examples: int
    validation: int
    left_out: int
    unfit: int


class FinetuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """The `result` of a job of kind `finetune`.

    `better`: the holdout shows that `release`, which is today's with the new model, beats today's. Model and
    release then stand in the configuration, both called PROPOSED, ready for a rollout, or `unproposed` says
    why they could not be put there. `reason` says in words what came out. `learned` is what was trained.
    The judgement took `calls`, whose answers cost `cost_usd` where the price is known; `cost_unknown` counts
    those where it is not.
    """

    better: bool
    reason: str
    deployment: str
    dataset: str
    base: Target
    release: Release
    proposed: str | None
    unproposed: str | None
    learned: Learned
    judgement: Judgement
    calls: int
    cost_usd: Decimal
    cost_unknown: int
    epochs: int
    seed: int


def check_order(order: FinetuneOrder) -> None:
    """Raises WrongCall for numbers that mean nothing."""
    rate = order.learning_rate
    wrong = [
        (not 1 <= order.epochs <= EPOCHS_MAX, f"{order.epochs} epochs; give 1 to {EPOCHS_MAX}"),
        (rate is not None and not 0 < rate < 1_000, f"a learning rate of {rate}; give more than 0"),
        (not 1 <= order.rank <= RANK_MAX, f"a rank of {order.rank}; give 1 to {RANK_MAX}"),
        (not 0 <= order.seed < 2**31, f"a seed of {order.seed}; give 0 to {2**31 - 1}"),
        odd_alpha(order.alpha),
        (
            not 1 <= order.concurrency <= CONCURRENCY_MAX,
            f"{order.concurrency} calls at once; give 1 to {CONCURRENCY_MAX}",
        ),
    ]
    for is_wrong, message in wrong:
        if is_wrong:
            raise WrongCall(message)


def check_release(release: Release) -> None:
    """Raises WrongCall for a release that cannot be trained for."""
    if release.form == "completion":
        raise WrongCall(
            f"release {release.name!r} makes a raw prompt (form completion), and models are trained on "
            "chats; name a release of another form"
        )


def check_examples(dataset: str, found: Lines, uneven: Sequence[Uneven]) -> None:
    """Raises WrongCall where there is too little to learn from."""
    if len(found.lines) >= EXAMPLES_MIN:
        return
    why = []
    if found.people:
        why.append(
            f"{found.people} came from people and are left out, because a model cannot forget what it has "
            "learnt (--people takes them)"
        )
    if found.unfit:
        why.append(f"of {found.unfit} no example can be made: they need a question and an expected answer")
    raise WrongCall(
        f"dataset {dataset!r} has {many(len(found.lines), 'item')} to learn from in its train part, and "
        f"fine-tuning needs {EXAMPLES_MIN}"
        + (f"; {', and '.join(why)}" if why else "")
        + because(uneven, "train")
    )


def check_holdout(dataset: str, size: int, uneven: Sequence[Uneven]) -> None:
    """Raises WrongCall where there is too little to judge by."""
    if size < UNITS_MIN:
        raise WrongCall(
            f"dataset {dataset!r} has {many(size, 'item')} to judge by (holdout); fine-tuning needs "
            f"{UNITS_MIN}{because(uneven, 'holdout')}"
        )
