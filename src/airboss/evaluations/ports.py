"""What evaluations need from the outside: somebody who calls a release, and somewhere to keep results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from airboss.evaluations.datasets import Input, Json
from airboss.releases.variant import Variant
from airboss.store.eval_rows import (
    AnswerRow,
    DatasetRow,
    HoldoutRead,
    ItemRow,
    OpenPart,
    ResultRow,
    RunRow,
    Tally,
)

Report = Callable[[int, int, str], None]
"""Takes how many of how many steps of a job are through, and where it stands, for people. What it raises ends
the job."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: a release, `release` being its digest and `deployment` the way to it; or somebody's own
    app, that nobody here can ask: `deployment` is empty then, and `release` the digest of what it answered.
    `name` is for people."""

    deployment: str
    release: str
    name: str = ""

    @property
    def app(self) -> bool:
        """Whether it is an app."""
        return not self.deployment


class Varied(msgspec.Struct, frozen=True, kw_only=True):
    """A release that only our own calls know: `release` is the digest of the one it is a variant of."""

    release: str
    variant: Variant


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one release.

    `params` go into the request and win over the item's own. `subject` is the digest of the item's input, for
    erasure. `repeat` tells apart the calls that ask the same again. `varied` says what the target's release
    is where no plan has it. `user` is the person whose words are in it, so that its record is forgotten with
    them. What is asked `apart` is not answered by what was kept of a call that was not. One that `tests` is
    to find out whether a model is there: the places that answer it are asked by everybody again.
    """

    target: Target
    input: Input
    subject: str
    params: Json = {}
    repeat: int = 0
    varied: Varied | None = None
    user: str | None = None
    apart: str = ""
    tests: bool = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token of an answer with the logarithm of its probability; `top` has those of the likeliest ones."""

    token: str
    logprob: float
    top: dict[str, float] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call. Exactly one of `text` and `error` is set.

    `text` is the first choice's, empty where there is none (tool calls only, say). `error` is the cause for
    which there is no answer; such an answer is never kept as paid. `latency_ms` is the whole call as the
    caller saw it, None where nobody says; `cost_usd` None means that the price is unknown. `release` is the
    digest that answered as the endpoint tells it, `record` the id of the call's record. `logprobs` has the
    first tokens of an answer whose call asked for their probabilities; None where there are none.
    """

    text: str | None = None
    error: str | None = None
    refusal: str | None = None
    finish_reason: str | None = None
    tool_calls: Any = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    latency_ms: float | None = 0.0
    release: str | None = None
    record: str | None = None
    logprobs: tuple[Token, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what is neither an answer nor the reason for its absence."""
        if (self.text is None) == (self.error is None):
            raise ValueError("an answer has either a text or the error for which there is none")


class Caller(Protocol):
    """Calls releases."""

    async def call(self, call: Call) -> Answer:
        """Ask, and wait for the whole answer. A call that fails is an answer with `error`, not an exception;
        cancellation passes through."""


class EvalStore(Protocol):
    """Keeps datasets, answers and results. Every write is durable when the call returns; every call is one
    transaction. Raises SetupError if it cannot be used."""

    def put_dataset(self, dataset: DatasetRow, items: Sequence[ItemRow]) -> bool:
        """Keep a dataset, and make it the newest of its name; returns False for one that was there. Items
        that a digest once had and that were erased do not come back."""

    def grow_dataset(
        self, dataset: DatasetRow, items: Sequence[ItemRow], *, onto: str | None, gone: Sequence[str] = ()
    ) -> bool:
        """Keep `dataset`: what the one of digest `onto` has without those whose ids are `gone`, and `items`,
        none of which is there then. Returns False, with nothing kept, unless `onto` is the newest of the name
        (None: there is none of it) and has all that is to go; of a content that was there as
        `put_dataset`."""

    def datasets(self) -> tuple[DatasetRow, ...]:
        """Every dataset, newest first."""

    def items(self, digest: str, part: OpenPart) -> tuple[ItemRow, ...]:
        """The items of a part, in order of id."""

    def every_item(self, digest: str) -> tuple[ItemRow, ...]:
        """The items of every part, in order of id, for who adds to them. The holdout's are among them, which
        nobody may be shown: `open_holdout` is how people read it."""

    def forms(self, name: str, ids: Sequence[str]) -> tuple[ItemRow, ...]:
        """Each form that items of these ids have in any version of the dataset of this name."""

    def open_holdout(self, read: HoldoutRead) -> tuple[int, tuple[ItemRow, ...]]:
        """Write down that the holdout of `read.dataset` is read, then give it: how often it was read before,
        and its items, in order of id."""

    def reopen_holdout(self, digest: str, *, who: str, why: str) -> tuple[int, tuple[ItemRow, ...]] | None:
        """What `open_holdout` gave this reader for this reason the last time, without a new reading; None if
        it never did."""

    def holdout_reads(self, digest: str) -> tuple[HoldoutRead, ...]:
        """Who read the holdout, of this version or of one that shares items with it, oldest first."""

    def part_sizes(self, digest: str) -> dict[str, int]:
        """How many items each part has that has any."""

    def tallies(self) -> Mapping[str, Tally]:
        """Of every dataset, by digest, what `part_sizes` and `holdout_reads` count."""

    def answer(self, key: str) -> str | None:
        """The answer kept under this key."""

    def forgotten(self, subject: str, user: str) -> bool:
        """Whether a person's item that asks this is there no more, or is about to go as they are being
        forgotten."""

    def put_answer(
        self,
        key: str,
        *,
        subject: str,
        content: str,
        at: datetime,
        user: str | None = None,
        dataset: str | None = None,
    ) -> None:
        """Keep an answer; one that is there stays. Of a `user` who was `forgotten` meanwhile none is kept.
        Raises WrongCall, and keeps nothing, for one to a `dataset`, by digest, that was deleted meanwhile."""

    def put_answers(self, answers: Sequence[AnswerRow], *, at: datetime, dataset: str) -> None:
        """Keep answers, all or none: each as `put_answer`."""

    def put_run(self, run: RunRow) -> None:
        """Keep a new run."""

    def finish_run(self, run_id: str, report: str) -> None:
        """Say that a run is done, and what it found."""

    def run(self, run_id: str) -> RunRow | None:
        """The run of this id."""

    def put_result(self, result: ResultRow, *, user: str | None = None, dataset: str | None = None) -> None:
        """Keep what came of an item, in place of what came of it before. Of a `user` and a `dataset` as in
        `put_answer`."""

    def results(self, run_id: str) -> tuple[ResultRow, ...]:
        """All results of a run so far."""

    def drop_dataset(self, name: str) -> int:
        """Delete every dataset of this name, the items that no other one has, the answers to those and the
        results on them; returns how many datasets there were. Who read a holdout stays on record."""

    def expire(self, before: datetime, limit: int) -> int:
        """Delete answers that were kept before then, and the results of runs begun before then whose job is
        over and that no run begun later is held to; reports stay. At most `limit` answers at once, and the
        results of a few runs. Returns how many of both went; 0 is the end."""

    def forget_user(self, user: str) -> int:
        """Delete a person's items everywhere, the answers to them and the results on them; returns how many
        items there were."""
