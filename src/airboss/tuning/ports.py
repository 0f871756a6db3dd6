"""What tuning needs from the outside: somewhere to keep what it must know again, and somebody who trains."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import msgspec

from airboss.domain.errors import AirbossError
from airboss.evaluations.ports import Report


class TuneStore(Protocol):
    """Keeps what a tuning job must know again after a crash. Every write is durable when the call returns.
    Raises SetupError if it cannot be used."""

    def tune_calls(self, job: str) -> Mapping[str, int]:
        """How often the job has begun each call, by the key of its answer (`paid_once.answer_key`)."""

    def begin_tune_call(self, job: str, key: str) -> None:
        """Count a call that is about to be made."""

    def tune_choice(self, job: str) -> str | None:
        """What the job has chosen, as it was put."""

    def put_tune_choice(self, job: str, content: str, at: datetime) -> None:
        """Keep what the job has chosen; a choice that is there stays."""


class TrainingFailed(AirbossError):
    """A model could not be trained; the message says why and what can be done."""


class TrainOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to train.

    `model` is the base model: the name upstream, or for local weights their source. `training` and
    `validation` are files in OpenAI's chat fine-tuning form, an object a line with `messages`, of which the
    last is the assistant's. `learning_rate` None leaves it to the trainer: of a hosted one it multiplies the
    provider's own, of a local one it is the rate. `rank` is of an adapter, for local ones only. `work` is a
    directory of this order's own, whose name no other order ever has.
    """

    model: str
    training: Path
    validation: Path | None
    epochs: int
    learning_rate: float | None
    rank: int
    seed: int
    work: Path


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a loss curve: after `step`, on training and on validation examples where measured."""

    step: int
    training: float | None = None
    validation: float | None = None


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained.

    `fields` are those of `[models.NAME]` in which it differs from the base model: `{"model": "ft:…"}` of a
    hosted one, `adapter` and `adapter_sha256` of a local one. `losses` is the curve, by rising step; empty
    where nobody told. `trained_tokens` None: not told. `cost_usd` None: not known. `left_behind` names
    what could not be deleted at the provider.
    """

    fields: dict[str, str]
    losses: tuple[Loss, ...] = ()
    trained_tokens: int | None = None
    cost_usd: Decimal | None = None
    left_behind: tuple[str, ...] = ()


class Trainer(Protocol):
    """Trains models of one provider."""

    def train(self, order: TrainOrder, report: Report) -> Trained:
        """Train, and wait until it is done; blocks. Called again with the same order and work directory after
        a crash, it goes on where it was and pays for nothing twice. What `report` raises passes through, at
        the latest some seconds after it would; what was begun is then left as it is, to be gone on with.

        Raises TrainingFailed.
        """

    def abandon(self, order: TrainOrder) -> None:
        """Nobody wants it any more: end what still runs for this order outside of `work`, and delete there
        what was left. Does what can be done, and raises nothing."""
