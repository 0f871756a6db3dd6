"""A fine-tuning as it is asked for, in words, and the job that it becomes, with every word looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Unpack

from airboss.domain.errors import WrongCall
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from airboss.evaluations.orders import Orders, Parts, judges_of
from airboss.evaluations.splits import said
from airboss.evaluations.targets import Served
from airboss.store.job_rows import Job
from airboss.tuning.finetune_plan import (
    KIND,
    FinetuneOrder,
    FinetuneTask,
    Place,
    check_examples,
    check_holdout,
    check_order,
    check_release,
)
from airboss.tuning.orders import name_of, scorer_of

SUFFIX: Final = "-finetuned"
"""What a new release's name ends with unless another one is given."""

_POSSIBLE: Final = (
    "Airboss trains at OpenAI, at servers that have OpenAI's files and fine-tuning jobs (openai-compatible), "
    "and local models"
)
REFUSED: Final[Mapping[ProviderKind, str]] = {
    "anthropic": f"Anthropic has no API to train its models; {_POSSIBLE}",
    "gemini": f"the Gemini API does not train models (Vertex AI does, in its own way); {_POSSIBLE}",
    "bedrock": "Bedrock trains by jobs on S3 and serves by provisioned throughput; train there, and name the "
    f"model under [models]; {_POSSIBLE}",
    "azure": "Azure trains, but a trained model answers only once its management API has deployed it; train "
    f"and deploy it there, and name the deployment under [models]; {_POSSIBLE}",
}
"""Why a kind of provider is not trained at, and what can be done instead."""


class FinetuneOrders(Orders):
    """Takes orders for fine-tuning. `ready` raises AirbossError where this machine lacks something that
    training at a place needs."""

    def __init__(self, *, ready: Callable[[Place], None], **parts: Unpack[Parts]) -> None:
        super().__init__(**parts)
        self._ready = ready

    def start(self, order: FinetuneOrder, *, by: str) -> Job:
        """Queue a fine-tuning. Raises WrongCall, with nothing queued, for an order that means nothing."""
        return self._jobs.add(KIND, self.task(order), by, self._now())

    def task(self, order: FinetuneOrder) -> FinetuneTask:
        """The order with every word looked up and checked. Raises WrongCall, and what `ready` raises."""
        check_order(order)
        dataset = self._library.find(order.dataset)
        scorer = scorer_of(order.scorer, self._scorers)
        uneven = self._library.uneven(dataset)
        check_holdout(dataset.name, dataset.sizes["holdout"], uneven)
        served = Served.of(self._ledger)
        target = served.meant(order.deployment, order.release)
        behind = served.behind(target)
        base = behind.release
        check_release(base)
        place = place_of(behind.target)
        self._ready(place)
        policy = served.deployment(order.deployment).policy
        items = self._library.items(dataset, "train")
        from airboss.tuning.examples import lines_of  # noqa: PLC0415 - what finds personal data

        lines = lines_of(items, base, policy=policy, people=order.people)
        check_examples(dataset.name, lines, uneven)
        return FinetuneTask(
            deployment=target.deployment,
            dataset=dataset.digest,
            dataset_name=dataset.name,
            base=base,
            target=target,
            place=place,
            scorer=scorer,
            name=name_of(order.name, base, SUFFIX),
            policy=policy,
            epochs=order.epochs,
            learning_rate=order.learning_rate,
            rank=order.rank,
            seed=order.seed,
            alpha=order.alpha,
            concurrency=order.concurrency,
            params=order.params,
            people=order.people,
            judges=judges_of(served, [scorer]),
            folder=str(self._scorers),
            uneven=said(uneven),
        )


def place_of(target: Target) -> Place:
    """Where the model of a target is trained. Raises WrongCall where that cannot be, with what can."""
    if target.kind in REFUSED:
        raise WrongCall(
            f"the model {target.upstream_model!r} is at provider {target.provider!r}: {REFUSED[target.kind]}"
        )
    if target.embeds:
        raise WrongCall(f"the model {target.upstream_model!r} makes vectors, and is not trained here")
    if target.kind == "local":
        return Place(provider=target.provider, kind=target.kind)
    if len(target.base_urls) != 1:
        raise WrongCall(
            f"provider {target.provider!r} has {len(target.base_urls)} targets, and a trained model is at "
            "one of them; name a release at a provider of its own, with one address and one key"
        )
    key = target.key_refs[0] if target.key_refs else target.api_key_ref
    return Place(provider=target.provider, kind=target.kind, base_url=target.base_urls[0], api_key_ref=key)
