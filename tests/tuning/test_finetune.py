"""Fine-tuning from the task to the result, with a trainer and a world in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.domain.plan import Target as Way
from airboss.domain.release import Policy
from airboss.evaluations.datasets import Item, dataset
from airboss.evaluations.ports import Answer, Call, Report, Target
from airboss.evaluations.scorers.exact import Exact
from airboss.releases.variant import Variant, reached, varied
from airboss.tuning.finetune import FineTuning
from airboss.tuning.finetune_plan import FinetuneResult, FinetuneTask, Place
from airboss.tuning.ports import Trained, TrainOrder
from airboss.tuning.training_files import TrainingFiles
from tests.tuning.support import BASE, MemoryStore, answer, job, made, now, stored, truth


class Trainer:
    """Makes a model at once; remembers what it was given."""

    def __init__(self, fields: dict[str, str] | None = None) -> None:
        self.fields = fields or {"model": "ft:up:1"}
        self.orders: list[TrainOrder] = []
        self.lines: list[str] = []

    def train(self, order: TrainOrder, report: Report) -> Trained:
        """As `ports.Trainer.train`."""
        report(1, 2, "trains")
        self.orders.append(order)
        self.lines = order.training.read_text().splitlines()
        return Trained(fields=self.fields)

    def abandon(self, order: TrainOrder) -> None:
        """As `ports.Trainer.abandon`."""


class Models:
    """A caller: the trained model is right, the other one never."""

    def __init__(self, *, good: bool = True) -> None:
        self.calls: list[Call] = []
        self._good = good

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        await asyncio.sleep(0)
        self.calls.append(call)
        release = BASE if call.varied is None else varied(BASE, call.varied.variant)
        assert release.digest == call.target.release
        right = truth(str(call.input.messages[-1]["content"]))
        trained = release.model.model.startswith("ft:") and self._good
        return answer(right if trained else "none")


def task(digest: str, **given: Any) -> FinetuneTask:
    """A task on that dataset."""
    fields: dict[str, Any] = {
        "deployment": "support",
        "dataset": digest,
        "dataset_name": "steer",
        "base": BASE,
        "target": Target(deployment="support", release=BASE.digest, name=BASE.name),
        "place": Place(provider="fake", kind="openai-compatible", base_url="http://127.0.0.1:9/v1"),
        "scorer": Exact(),
        "name": "support-finetuned",
    }
    return FinetuneTask(**(fields | given))


def tuning(store: MemoryStore, what: FinetuneTask, root: Path, files: Any = None) -> FineTuning:
    """The work of a process."""
    return FineTuning(
        job(what, "finetune-1"),  # type: ignore[arg-type]  # it is encoded
        evals=store,  # type: ignore[arg-type]  # what is used of it
        tunes=store,
        files=files or TrainingFiles(root),
        now=now,
        report=lambda _done, _total, _note: None,
    )


def done(store: MemoryStore, what: FinetuneTask, root: Path, world: Models, trainer: Any) -> FinetuneResult:
    """Train unless that was done, and judge."""
    work = tuning(store, what, root)
    learned = work.learned() or work.learn(trainer)
    return asyncio.run(work.judge(learned, world))


def test_a_better_model_is_judged_better_and_trained_once(tmp_path: Path) -> None:
    """The release is today's with the new model; a process that goes on trains nothing, asks nothing anew and
    reads the holdout no second time."""
    store, trainer, world = MemoryStore(), Trainer(), Models()
    what = task(stored(store))
    result = done(store, what, tmp_path, world, trainer)
    assert result.better
    assert result.release.name == "support-finetuned"
    assert result.release.model == msgspec.structs.replace(BASE.model, model="ft:up:1")
    assert result.release.prompt == BASE.prompt
    assert len(world.calls) == result.calls == 120
    assert (result.learned.examples, result.learned.validation) == (30, 30)
    assert trainer.orders[0].work == tmp_path / "finetune-1"
    again = Models()
    assert done(store, what, tmp_path, again, None) == result
    assert again.calls == []
    assert len(store.reads) == 1
    assert msgspec.json.decode(msgspec.json.encode(result), type=FinetuneResult) == result


def test_one_that_is_no_better_is_said_to_be_none(tmp_path: Path) -> None:
    """Equal answers are no gain."""
    store = MemoryStore()
    result = done(store, task(stored(store)), tmp_path, Models(good=False), Trainer())
    assert not result.better
    assert result.judgement.gain is not None
    assert result.judgement.gain.estimate == 0


def test_the_holdout_is_never_trained_on(tmp_path: Path) -> None:
    """No question of it is in a file, and one that the train part has too is not judged by, whatever its
    parameters."""
    data = made()
    twin = next(each for each in data.items if each.part == "train")
    more = Item(id="twin", input=twin.input, expected=twin.expected, part="holdout")
    store, trainer = MemoryStore(), Trainer()
    asked = msgspec.structs.replace(twin.input, params={"max_tokens": 5})
    other = msgspec.structs.replace(more, id="other", input=asked)
    digest = stored(store, dataset("steer", [*data.items, more, other]))
    result = done(store, task(digest), tmp_path, Models(), trainer)
    assert not any("holdout" in line for line in trainer.lines)
    assert (result.judgement.items, result.judgement.shown) == (60, 2)


def test_who_is_erased_while_files_are_written_is_in_none(tmp_path: Path) -> None:
    """The files are written again where items went meanwhile."""
    data = made()
    mine = [
        msgspec.structs.replace(each, user="ann") if each.id == "train-3" else each for each in data.items
    ]
    store, trainer = MemoryStore(), Trainer()
    digest = stored(store, dataset("steer", mine))

    class Erasing(TrainingFiles):
        def write(self, *given: Any) -> None:
            super().write(*given)
            store.kept_items[digest] = [row for row in store.kept_items[digest] if row.user != "ann"]

    work = tuning(store, task(digest, people=True), tmp_path, Erasing(tmp_path))
    assert work.learn(trainer).examples == 29
    assert len(trainer.lines) == 29
    assert "ann" not in (tmp_path / "finetune-1" / "training.people.json").read_text()


def test_a_dataset_that_became_too_small_is_refused(tmp_path: Path) -> None:
    """Also when the job begins: items may have gone since it was asked for."""
    store = MemoryStore()
    digest = stored(store, made(train=9))
    with pytest.raises(WrongCall, match="has 9 items to learn from"):
        tuning(store, task(digest), tmp_path).learn(Trainer())
    assert not list(tmp_path.iterdir())


def test_policies_of_the_deployment_bind_examples(tmp_path: Path) -> None:
    """What calls would not show the provider, a file does not."""
    data = made()
    told = [
        msgspec.structs.replace(each, expected="jane@example.com") if each.part == "train" else each
        for each in data.items
    ]
    store, trainer = MemoryStore(), Trainer()
    digest = stored(store, dataset("steer", told))
    policy = Policy(pii=(("email", "mask"),), detectors="1")
    tuning(store, task(digest, policy=policy), tmp_path).learn(trainer)
    assert trainer.lines
    assert all("[EMAIL]" in line for line in trainer.lines)


def test_a_local_variant_is_reached_at_its_engine_and_nowhere_else() -> None:
    """Keys go to the release's own provider; a local one's engine is on this machine."""
    hosted = Way(provider="fake", kind="openai-compatible", base_urls=("http://x/v1",), upstream_model="up")
    model = msgspec.structs.replace(BASE.model, model="ft:up:1")
    assert reached(hosted, Variant(model=model)).upstream_model == "ft:up:1"
    with pytest.raises(InvalidRequest):
        reached(hosted, Variant(model=msgspec.structs.replace(model, provider="other")))
    local = msgspec.structs.replace(hosted, kind="local", provider="local")
    mine = msgspec.structs.replace(model, kind="local", provider="local")
    assert reached(local, Variant(model=mine, port=1234)).base_urls == ("http://127.0.0.1:1234/v1",)
    with pytest.raises(InvalidRequest):
        reached(local, Variant(model=mine))
