"""What a training process is told, what it says, and what its two parts hand on."""

from __future__ import annotations

from typing import Final

import msgspec

ADAPTER: Final = "adapter.gguf"
"""What is in the work directory once the training is done; it gets that name last of all."""
BATCHES: Final = 25
"""A pass over few examples takes about so many steps: more, smaller ones learn more of them."""
BATCH_MAX: Final = 8


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to train, and where to keep it.

    `training` and `validation` are files of examples in OpenAI's form (`training.examples`). `batch` None
    means by their number. `alpha / rank` scales what the adapter adds. Examples of more than `max_tokens` are
    left out. `work` is a directory of this order's own: begun again there, it goes on where it was, at most
    `checkpoint_s` and a step before.
    """

    weights: str
    training: str
    validation: str | None
    work: str
    epochs: int
    learning_rate: float
    rank: int
    alpha: float
    seed: int
    batch: int | None = None
    max_tokens: int = 1024
    checkpoint_s: float = 20.0


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """So far it has come. `loss` is the mean, in nats a token, since the last of these; `validation` that
    over the validation examples, where it was just measured. `seconds` and `tokens` are of one process."""

    step: int
    steps: int
    loss: float | None = None
    validation: float | None = None
    seconds: float = 0.0
    tokens: int = 0


class Note(msgspec.Struct, frozen=True, kw_only=True, tag="note"):
    """What a person should know."""

    text: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The adapter is written. `tokens` is how many were learnt from, over all passes."""

    sha256: str
    tokens: int


Line = Step | Note | Done
"""A line of standard output."""


class Lesson(msgspec.Struct, kw_only=True):
    """Token ids, and of each whether it is to be learnt from what stands before it."""

    ids: list[int]
    learn: list[bool]

    @property
    def learnt(self) -> int:
        """How many tokens are learnt."""
        return sum(self.learn)


class Lessons(msgspec.Struct, frozen=True, kw_only=True):
    """What is learnt, and measured on; `left_out` is how many lessons were too long."""

    training: list[Lesson]
    validation: list[Lesson]
    left_out: int
