"""What a cancelled fine-tuning leaves behind is ended by the next controller, if its own was dead by then."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.compose import finetuning
from airboss.compose.finetuning import Leftovers, check_ready, trainer_of
from airboss.controller.jobs import Progress
from airboss.domain.errors import WrongCall
from airboss.domain.release import Release
from airboss.store.datadir import DataDir
from airboss.store.jobs import SqlJobStore
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_trouble import LedgerAway
from airboss.testing import FakeProvider, TuningPlay
from airboss.tuning.examples import Line
from airboss.tuning.finetune import order_of
from airboss.tuning.finetune_plan import Place
from airboss.tuning.ports import TrainOrder
from airboss.tuning.proposing import proposed
from airboss.tuning.training_files import TrainingFiles
from tests.support.fake import fake_process, provider
from tests.tuning.support import BASE, MemoryStore, stored
from tests.tuning.support import job as given
from tests.tuning.test_finetune import Trainer, task

__all__ = ["fake_process", "provider"]


class Left(Exception):
    """The process leaves here."""


@pytest.mark.parametrize("state", ["running", "cancelled just now", "cancelled", "unknown"])
def test_what_nobody_wants_is_ended(provider: FakeProvider, tmp_path: Path, state: str) -> None:
    """The job at the provider and the files of a cancelled one, once whoever had it has left it; not of one
    that goes on. Of one that no ledger knows the files."""
    data = DataDir(tmp_path)
    data.create()
    SqlLedger(data.ledger_url).close()
    provider.tuning(TuningPlay(for_s=None))
    place = Place(provider="fake", kind="openai-compatible", base_url=provider.url)
    what = task("d" * 64, place=place)
    jobs, now = SqlJobStore(data.ledger_url), datetime.now(UTC)
    job = jobs.add("finetune", what, "ann", now - timedelta(hours=1))
    files = TrainingFiles(data.finetune_dir)
    name = "finetune-none" if state == "unknown" else job.id
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    files.write(name, "training", [Line(text=json.dumps({"messages": said}), user=None)] * 10)
    order = order_of(what, name, files)

    def leave(_done: int, _total: int, note: str) -> None:
        if "running" in note:
            raise Left

    with pytest.raises(Left):
        trainer_of(what, data).train(order, leave)
    if state.startswith("cancelled"):
        jobs.cancel(job.id, now - timedelta(seconds=0 if "now" in state else 60))
    Leftovers(data, jobs).tick()
    (made,) = httpx2.get(f"{provider.url}/fine_tuning/jobs", trust_env=False).json()["data"]
    assert made["status"] == ("cancelled" if state == "cancelled" else "running")
    assert order.work.exists() == (state in {"running", "cancelled just now"})
    jobs.close()


def test_a_ledger_that_is_lost_gives_up_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was trained, perhaps for hours and for money, goes on where it was; the job has not failed."""

    class Lost(MemoryStore):
        def put_tune_choice(self, *_: object) -> None:
            raise LedgerAway("terminating connection due to administrator command")

    class Trained(Trainer):
        def abandon(self, _order: TrainOrder) -> None:
            pytest.fail("given up")

    data, store = DataDir(tmp_path), Lost()
    data.create()
    trainer = Trained()
    monkeypatch.setattr(finetuning, "open_tunes", lambda _data: nullcontext(store))
    monkeypatch.setattr(finetuning, "trainer_of", lambda _task, _data: trainer)
    monkeypatch.setattr(finetuning, "note", lambda *_args, **_detail: pytest.fail("noted as failed"))
    stores = SimpleNamespace(evals=store, jobs=None)
    work = finetuning.handler(None, data, stores, lambda *_: None)  # type: ignore[arg-type]  # what is used
    job = given(task(stored(store)), "finetune-1")  # type: ignore[arg-type]  # it is encoded
    with pytest.raises(LedgerAway):
        work(job, Progress(job))
    assert trainer.orders[0].training.exists()


def test_a_ledger_that_is_lost_is_no_refusal_of_a_release() -> None:
    """Who is better is proposed once the ledger answers; a word against the release is kept in the result."""
    better: Any = SimpleNamespace(better=True, release=BASE)

    def lost(_name: str, _release: Release) -> None:
        raise LedgerAway("gone")

    with pytest.raises(LedgerAway):
        proposed(better, lost)


def test_a_place_without_its_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is queued, with what to do."""
    place = Place(provider="p", kind="openai", base_url="http://127.0.0.1:9/v1", api_key_ref="env:SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(WrongCall, match="SOME_KEY"):
        check_ready(place)
    monkeypatch.setenv("SOME_KEY", "ab_" + "x" * 43)
    with pytest.raises(WrongCall, match="one of Airboss itself"):
        check_ready(place)
    monkeypatch.setenv("SOME_KEY", "sk-good")
    check_ready(place)
    assert msgspec.json.encode(place).count(b"sk-good") == 0


def test_a_local_model_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said before anything is queued."""
    monkeypatch.setitem(sys.modules, "jax", None)  # not to be imported, whatever is installed
    with pytest.raises(WrongCall, match=r"pip install 'airboss\[finetune\]'"):
        check_ready(Place(provider="local", kind="local"))
