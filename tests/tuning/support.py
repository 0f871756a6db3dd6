"""Stores in memory, datasets, and worlds: callers in which a better prompt exists, or none does."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from airboss.domain.release import ModelVersion, Release
from airboss.evaluations.datasets import Dataset, Input, Item, dataset
from airboss.evaluations.library import Library
from airboss.evaluations.ports import Answer, Call, Target
from airboss.evaluations.scorers.exact import Exact
from airboss.releases.build import sealed
from airboss.releases.render import leading_messages
from airboss.releases.variant import varied
from airboss.store.eval_rows import DatasetRow, HoldoutRead, ItemRow, ResultRow, RunRow
from airboss.store.job_rows import Job
from airboss.tuning.plan import TuneResult, TuneTask
from airboss.tuning.work import Tuning

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
MODEL = ModelVersion(provider="fake", kind="openai-compatible", model="up")
BASE = sealed(Release(digest="", name="support", model=MODEL, prompt="Sort the message."))
REFLECTOR = Target(deployment="writer", release="e" * 64, name="writer")
LABELS = ("left", "right", "up")


def now() -> datetime:
    """A clock that stands still."""
    return NOW


class MemoryStore:
    """What tuning uses of `EvalStore` and `TuneStore`, in memory: hundreds of tunings take seconds."""

    def __init__(self) -> None:
        self.rows: dict[str, DatasetRow] = {}
        self.kept_items: dict[str, list[ItemRow]] = {}
        self.reads: list[HoldoutRead] = []
        self.answers: dict[str, str] = {}
        self.kept_runs: dict[str, RunRow] = {}
        self.kept_results: dict[tuple[str, str, str, int], ResultRow] = {}
        self.begun: dict[str, Counter[str]] = {}
        self.choices: dict[str, str] = {}

    def put_dataset(self, row: DatasetRow, items: Any) -> bool:
        """As `EvalStore.put_dataset`."""
        self.rows[row.digest] = row
        self.kept_items[row.digest] = sorted(items, key=lambda item: item.id)
        return True

    def datasets(self) -> tuple[DatasetRow, ...]:
        """As `EvalStore.datasets`."""
        return tuple(self.rows.values())

    def items(self, digest: str, part: str) -> tuple[ItemRow, ...]:
        """As `EvalStore.items`."""
        return tuple(row for row in self.kept_items[digest] if row.part == part)

    def every_item(self, digest: str) -> tuple[ItemRow, ...]:
        """As `EvalStore.every_item`."""
        return tuple(self.kept_items[digest])

    def open_holdout(self, read: HoldoutRead) -> tuple[int, tuple[ItemRow, ...]]:
        """As `EvalStore.open_holdout`."""
        before = len(self.holdout_reads(read.dataset))
        self.reads.append(read)
        return before, self.items(read.dataset, "holdout")

    def reopen_holdout(self, digest: str, *, who: str, why: str) -> tuple[int, tuple[ItemRow, ...]] | None:
        """As `EvalStore.reopen_holdout`."""
        for number, read in enumerate(self.holdout_reads(digest)):
            if (read.who, read.why) == (who, why):
                return number, self.items(digest, "holdout")
        return None

    def holdout_reads(self, digest: str) -> tuple[HoldoutRead, ...]:
        """As `EvalStore.holdout_reads`."""
        return tuple(read for read in self.reads if read.dataset == digest)

    def part_sizes(self, digest: str) -> dict[str, int]:
        """As `EvalStore.part_sizes`."""
        return dict(Counter(row.part for row in self.kept_items[digest]))

    def answer(self, key: str) -> str | None:
        """As `EvalStore.answer`."""
        return self.answers.get(key)

    def forgotten(self, _subject: str, _user: str) -> bool:
        """As `EvalStore.forgotten`."""
        return False

    def put_answer(self, key: str, *, content: str, **_rest: Any) -> None:
        """As `EvalStore.put_answer`."""
        self.answers.setdefault(key, content)

    def put_run(self, run: RunRow) -> None:
        """As `EvalStore.put_run`."""
        self.kept_runs[run.id] = run

    def finish_run(self, run_id: str, report: str) -> None:
        """As `EvalStore.finish_run`."""
        self.kept_runs[run_id] = msgspec.structs.replace(self.kept_runs[run_id], state="done", report=report)

    def run(self, run_id: str) -> RunRow | None:
        """As `EvalStore.run`."""
        return self.kept_runs.get(run_id)

    def put_result(self, result: ResultRow, **_rest: Any) -> None:
        """As `EvalStore.put_result`."""
        self.kept_results[result.run, result.item, result.arm, result.repeat] = result

    def results(self, run_id: str) -> tuple[ResultRow, ...]:
        """As `EvalStore.results`."""
        return tuple(row for row in self.kept_results.values() if row.run == run_id)

    def tune_calls(self, job: str) -> Mapping[str, int]:
        """As `TuneStore.tune_calls`."""
        return dict(self.begun.get(job, {}))

    def begin_tune_call(self, job: str, key: str) -> None:
        """As `TuneStore.begin_tune_call`."""
        self.begun.setdefault(job, Counter())[key] += 1

    def tune_choice(self, job: str) -> str | None:
        """As `TuneStore.tune_choice`."""
        return self.choices.get(job)

    def put_tune_choice(self, job: str, content: str, _at: datetime) -> None:
        """As `TuneStore.put_tune_choice`."""
        self.choices.setdefault(job, content)


class World:
    """A `Caller` at the far end: a model whose chance to be right is `skill` of the messages before the last
    one. What it says to a question in a context is always the same; `seed` is another such model. Remembers
    what it was asked; `stop_after` calls it dies."""

    def __init__(
        self,
        skill: Callable[[list[dict[str, str]]], float],
        *,
        seed: int = 0,
        writes: str = "",
        stop_after: int | None = None,
        base: Release = BASE,
    ) -> None:
        self._base = base
        self._skill = skill
        self._seed = seed
        self._writes = writes
        self._stop_after = stop_after
        self.calls: list[Call] = []

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        if self._stop_after is not None and len(self.calls) >= self._stop_after:
            raise Killed
        self.calls.append(call)
        await asyncio.sleep(0)
        if call.target == REFLECTOR:
            return answer(f"```\n{self._writes}\n```")
        messages = rendered(call, self._base)
        question = messages[-1]["content"]
        shown = json.dumps([self._seed, messages[:-1], question])
        luck = int.from_bytes(hashlib.sha256(shown.encode()).digest()[:8]) / 2**64
        right = truth(question)
        wrong = next(label for label in LABELS if label != right)
        return answer(right if luck < self._skill(messages[:-1]) else wrong, size=len(shown) // 4)

    @property
    def questions(self) -> list[str]:
        """The last message of every call so far."""
        return [call.input.messages[-1]["content"] for call in self.calls]


def rendered(call: Call, base: Release = BASE) -> list[dict[str, str]]:
    """The messages that the model is given, as the gateway makes them."""
    assert base.digest in {call.target.release, call.varied and call.varied.release}
    release = base if call.varied is None else varied(base, call.varied.variant)
    assert release.digest == call.target.release
    return [*leading_messages(release, call.input.variables), *map(dict, call.input.messages)]


class Killed(BaseException):
    """The process is gone."""


def answer(text: str, *, size: int = 10) -> Answer:
    """An answer with what is usually there."""
    return Answer(text=text, input_tokens=size, output_tokens=2, latency_ms=5.0, cost_usd=Decimal("0.001"))


def truth(question: str) -> str:
    """The right answer to a question of `made`."""
    return LABELS[int(question.split()[1]) % len(LABELS)]


def made(*, train: int = 30, validation: int = 30, holdout: int = 60) -> Dataset:
    """A dataset of three answers."""
    sizes = {"train": train, "validation": validation, "holdout": holdout}
    number = iter(range(10_000))
    items = []
    for part, size in sizes.items():
        for _ in range(size):
            text = f"{part} {next(number)}"
            items.append(
                Item(
                    id=text.replace(" ", "-"),
                    input=Input(messages=({"role": "user", "content": text},)),
                    expected=truth(text),
                    part=part,  # type: ignore[arg-type]
                )
            )
    return dataset("steer", items)


def stored(store: Any, data: Dataset | None = None) -> str:
    """Keep a dataset; returns its digest."""
    data = data or made()
    Library(store, now).put(data)
    return data.digest


def task(digest: str, *, base: Release = BASE, **given: Any) -> TuneTask:
    """A task on that dataset."""
    fields: dict[str, Any] = {
        "deployment": "support",
        "dataset": digest,
        "dataset_name": "steer",
        "base": base,
        "target": Target(deployment="support", release=base.digest, name=base.name),
        "scorer": Exact(),
        "name": "support-tuned",
        "budget": 600,
        "forms": ("system", "turns"),
    }
    return TuneTask(**(fields | given))


def job(what: TuneTask, id: str = "tune-1") -> Job:
    """A job that is at work."""
    return Job(
        id=id,
        kind="tune",
        spec=msgspec.Raw(msgspec.json.encode(what)),
        state="running",
        done=0,
        total=0,
        note="",
        result=None,
        error=None,
        created_at=NOW,
        updated_at=NOW,
        by="ann",
    )


def tuned(
    store: Any, world: Any, what: TuneTask, *, id: str = "tune-1", tunes: Any = None, report: Any = None
) -> TuneResult:
    """Do a tuning to its end."""
    work = Tuning(
        job(what, id),
        evals=store,
        tunes=tunes if tunes is not None else store,
        caller=world,
        now=now,
        report=report or (lambda _done, _total, _note: None),
    )
    return asyncio.run(work.run())


def named(messages: list[dict[str, str]]) -> bool:
    """Whether the answers are named before the question, and nothing else is: what an instruction does."""
    return any(each["role"] == "system" and "left, right, up" in each["content"] for each in messages)


def shown(messages: list[dict[str, str]]) -> int:
    """How many examples come before the question."""
    turns = sum(each["role"] == "assistant" for each in messages)
    return turns + sum(each["content"].count("Output: ") for each in messages if each["role"] == "system")
