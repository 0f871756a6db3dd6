"""Trains at a provider that has OpenAI's routes for it: files go up, a job runs there, files go away.

What may be paid for is written down, in the order's work directory, before it is waited for. Between the two
a kill may come: so before anything is made, the provider is asked whether it is there already. A file is
known by its name, which has the order's name in it; a job by its training file.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from airboss.domain.errors import AirbossError
from airboss.evaluations.ports import Report
from airboss.store.whole_file import replace_file
from airboss.tuning.hosted_answers import (
    count,
    id_of,
    listed,
    loss_of,
    model_of,
    progress_of,
    reason_of,
    rows_of,
    tag_of,
)
from airboss.tuning.hosted_http import Json, Missing, Provider, Transient
from airboss.tuning.ports import Loss, Trained, TrainingFailed, TrainOrder

T = TypeVar("T")

LOOK_S: Final = 0.2
"""How often a wait looks whether it should end."""

PAGES_MAX: Final = 100
PAGE: Final = 100
LOSSES_MAX: Final = 500
STATUS_CHARS_MAX: Final = 40
TAG: Final = "airboss"
"""The metadata by which a job of ours is known."""

log = logging.getLogger(__name__)


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds: between two looks at a job (the pause grows), for a call that fails
    again and again, for a job whose provider is silent, and for a job as a whole."""

    look_s: float = 0.5
    look_s_max: float = 20.0
    failing_s: float = 600.0
    silent_s: float = 6 * 3600.0
    job_s: float = 72 * 3600.0


class Notes(msgspec.Struct, kw_only=True):
    """What is known of an order at the provider. `asked`: a job was asked for, be it there or not."""

    begun_at: float
    training: str | None = None
    validation: str | None = None
    asked: bool = False
    job: str | None = None


class HostedTrainer:
    """`ports.Trainer` at one provider. `open` makes its client, and raises AirbossError where its key cannot
    be had. `old_way`: hyperparameters are sent where OpenAI once took them too, for servers made then."""

    def __init__(
        self, open_provider: Callable[[], Provider], *, old_way: bool = False, waits: Waits | None = None
    ) -> None:
        self._open = open_provider
        self._old_way = old_way
        self._waits = waits or Waits()

    def train(self, order: TrainOrder, report: Report) -> Trained:
        """As `Trainer.train`."""
        with self._at(order, report) as training:
            return training.run()

    def abandon(self, order: TrainOrder) -> None:
        """As `Trainer.abandon`."""
        if not _notes_path(order).exists():
            return
        try:
            with self._at(order, lambda _done, _total, _note: None) as training:
                training.abandon()
        except AirbossError as error:
            log.warning("%s was not tidied up: %s", order.work.name, error)

    @contextmanager
    def _at(self, order: TrainOrder, report: Report) -> Iterator[_Training]:
        try:
            provider = self._open()
        except AirbossError as error:
            raise TrainingFailed(str(error)) from error
        try:
            yield _Training(provider, order, report, waits=self._waits, old_way=self._old_way)
        finally:
            provider.close()


class _Training:
    """One order at the provider."""

    def __init__(
        self, provider: Provider, order: TrainOrder, report: Report, *, waits: Waits, old_way: bool
    ) -> None:
        self._provider = provider
        self._order = order
        self._report = report
        self._waits = waits
        self._old_way = old_way
        self._tag = order.work.name
        self._said = (0, 0, "begins")
        self._notes = self._read_notes()

    def run(self) -> Trained:
        """As `Trainer.train`."""
        try:
            job_id = self._begun()
            trained = self._trained(job_id, self._ended(job_id))
        except TrainingFailed:
            self._tidied()
            raise
        return msgspec.structs.replace(trained, left_behind=self._tidied())

    def abandon(self) -> None:
        """As `Trainer.abandon`."""
        notes = self._notes
        if notes.job is None and notes.asked:
            with suppress(Transient, TrainingFailed):
                notes.job = self._found_job()
        if notes.job is not None:
            self._cancel(notes.job)
        for part in ("training", "validation"):
            if getattr(notes, part) is None:
                with suppress(Transient, TrainingFailed):
                    setattr(notes, part, self._found_file(self._filename(part)))
        self._tidied()

    # -- what is made

    def _begun(self) -> str:
        """The job's id; the job is made where it is not there yet."""
        notes, order = self._notes, self._order
        if notes.job is not None:
            return notes.job
        self._say("uploads the examples")
        if notes.training is None:
            self._note(training=self._uploaded("training", order.training))
        if order.validation is not None and notes.validation is None:
            self._note(validation=self._uploaded("validation", order.validation))
        self._say("asks for the job")
        may_be_there = notes.asked
        self._note(asked=True)

        def once() -> str:
            nonlocal may_be_there
            found = self._found_job() if may_be_there else None
            if found is not None:
                return found
            try:
                return self._id(self._provider.post("/fine_tuning/jobs", self._body()))
            except Transient as error:
                may_be_there = may_be_there or error.unsure
                raise

        job = self._patiently(once)
        self._note(job=job)
        return job

    def _body(self) -> Json:
        order, notes = self._order, self._notes
        numbers: Json = {"n_epochs": order.epochs}
        if order.learning_rate is not None:
            numbers["learning_rate_multiplier"] = order.learning_rate
        body: Json = {
            "model": order.model,
            "training_file": notes.training,
            "seed": order.seed,
            "suffix": self._tag,
            "metadata": {TAG: self._tag},
            "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        }
        if notes.validation is not None:
            body["validation_file"] = notes.validation
        if self._old_way:
            body["hyperparameters"] = numbers
        return body

    def _uploaded(self, part: str, file: Path) -> str:
        name = self._filename(part)

        def once() -> str:
            return self._found_file(name) or self._id(self._provider.upload(file, name))

        return self._patiently(once)

    def _id(self, answer: Json) -> str:
        """The id of what was made. Raises Transient where there is none: it may be there all the same."""
        found = id_of(answer)
        if found is None:
            raise Transient(f"provider {self._provider.name!r} gives no id of what it made", unsure=True)
        return found

    def _filename(self, part: str) -> str:
        return f"{self._tag}-{part}.jsonl"

    def _found_file(self, name: str) -> str | None:
        """A file of ours that an earlier try has uploaded."""
        try:
            files = self._all("/files", {"purpose": "fine-tune"})
            return next((id_of(each) for each in files if each.get("filename") == name), None)
        except Missing:  # it lists none: at worst a second copy goes up, which costs nothing
            return None

    def _found_job(self) -> str | None:
        """The job that an earlier try has made. Raises TrainingFailed where that cannot be told."""
        try:
            for job in self._all("/fine_tuning/jobs", {}):
                tagged = tag_of(job, TAG) == self._tag
                if tagged or job.get("training_file") == self._notes.training:
                    return id_of(job)
        except Missing as error:
            raise TrainingFailed(
                f"a job was asked for, its answer was lost, and provider {self._provider.name!r} does not "
                "list jobs: look there whether it runs, and cancel it, before you run this again"
            ) from error
        return None

    def _all(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        """The rows of a list, page by page."""
        after: str | None = None
        for _ in range(PAGES_MAX):
            asked = {**params, "limit": str(PAGE), **({"after": after} if after is not None else {})}
            page = self._provider.get(path, asked)
            rows = rows_of(page)
            yield from rows
            if not page.get("has_more") or not rows:
                return
            after = id_of(rows[-1])

    # -- what is waited for

    def _ended(self, job_id: str) -> Json:
        """The job once it has succeeded. Raises TrainingFailed for any other end."""
        pause, name = self._waits.look_s, self._provider.name
        while True:
            try:
                job = self._looked(job_id)
            except TrainingFailed:
                self._cancel(job_id)
                raise
            status = str(job.get("status"))
            if status == "succeeded":
                return job
            if status == "failed":
                said = self._provider.clean(reason_of(job))
                raise TrainingFailed(f"provider {name!r} could not train {self._order.model!r}: {said}")
            if status == "cancelled":
                raise TrainingFailed(f"the job {job_id} was cancelled at provider {name!r}")
            if time.time() - self._notes.begun_at > self._waits.job_s:
                self._cancel(job_id)
                hours = self._waits.job_s / 3600
                raise TrainingFailed(f"the job {job_id} was not done in {hours:.0f} h, and was cancelled")
            self._tell(job_id, status)
            self._wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that many do not ask at once
            pause = min(pause * 1.4, self._waits.look_s_max)

    def _looked(self, job_id: str) -> Json:
        return self._tried(
            lambda: self._provider.get(f"/fine_tuning/jobs/{job_id}"),
            for_s=self._waits.silent_s,
            look=self._report_same,
        )

    def _tell(self, job_id: str, status: str) -> None:
        """Say how far it is; who cannot tell of events is not asked for more than the status."""
        done = total = 0
        if status == "running":
            with suppress(Transient, TrainingFailed):
                page = self._provider.get(f"/fine_tuning/jobs/{job_id}/events", {"limit": "5"})
                for event in listed(page):
                    done, total = max((done, total), progress_of(event))
        self._say(self._provider.clean(status)[:STATUS_CHARS_MAX].replace("_", " "), done, total)

    def _trained(self, job_id: str, job: Json) -> Trained:
        model = model_of(job)
        if model is None:
            raise TrainingFailed(f"provider {self._provider.name!r} names no model that came of {job_id}")
        return Trained(
            fields={"model": model},
            losses=self._losses(job_id),
            trained_tokens=count(job.get("trained_tokens")),
        )

    def _losses(self, job_id: str) -> tuple[Loss, ...]:
        """The curve, thinned to LOSSES_MAX points; empty where nobody tells it: it is for people to see."""
        points: dict[int, Loss] = {}
        with suppress(Transient, TrainingFailed):
            for event in self._all(f"/fine_tuning/jobs/{job_id}/events", {}):
                point = loss_of(event)
                if point is not None:
                    points[point.step] = point
        curve = [points[step] for step in sorted(points)]
        every = -(-len(curve) // LOSSES_MAX) or 1
        return tuple(point for at, point in enumerate(curve) if at % every == 0 or at + 1 == len(curve))

    # -- what is ended

    def _cancel(self, job_id: str) -> None:
        with suppress(TrainingFailed):  # it has ended, or is not there
            self._briefly(lambda: self._provider.post(f"/fine_tuning/jobs/{job_id}/cancel", {}))

    def _tidied(self) -> tuple[str, ...]:
        """Delete our files; returns those that are left."""
        left = []
        for name in (self._notes.training, self._notes.validation):
            if name is None:
                continue
            try:
                self._briefly(lambda name=name: self._provider.delete(f"/files/{name}"))  # type: ignore[misc]  # a default binds it
            except Missing:
                continue
            except TrainingFailed as error:
                log.warning("file %s stays at the provider: %s", name, error)
                left.append(name)
        return tuple(left)

    # -- how

    def _patiently(self, once: Callable[[], T]) -> T:
        return self._tried(once, for_s=self._waits.failing_s, look=self._report_same)

    def _briefly(self, once: Callable[[], T]) -> T:
        return self._tried(once, for_s=min(10.0, self._waits.failing_s), look=lambda: None)

    def _tried(self, once: Callable[[], T], *, for_s: float, look: Callable[[], None]) -> T:
        """What a call gives, tried again while it may help, for so long; raises TrainingFailed then."""
        began, pause = time.monotonic(), self._waits.look_s
        while True:
            try:
                return once()
            except Transient as error:
                after = error.after_s if error.after_s is not None else pause * random.uniform(0.8, 1.2)  # noqa: S311 - as above
                if time.monotonic() + after - began > for_s:
                    raise TrainingFailed(f"{error}, for {for_s:.0f} s now") from error
                self._note_trouble(str(error))
            _pause(after, look)
            pause = min(pause * 2, self._waits.look_s_max)

    def _wait(self, seconds: float) -> None:
        _pause(seconds, self._report_same)

    def _say(self, note: str, done: int = 0, total: int = 0) -> None:
        self._said = (done, total, f"{self._provider.name}: {note}")
        self._report(*self._said)

    def _note_trouble(self, words: str) -> None:
        self._said = (*self._said[:2], f"waits: {words}")

    def _report_same(self) -> None:
        self._report(*self._said)

    def _note(self, **known: Any) -> None:
        for name, value in known.items():
            setattr(self._notes, name, value)
        replace_file(_notes_path(self._order), [msgspec.json.encode(self._notes)])

    def _read_notes(self) -> Notes:
        try:
            return msgspec.json.decode(_notes_path(self._order).read_bytes(), type=Notes)
        except (FileNotFoundError, msgspec.DecodeError):
            return Notes(begun_at=time.time())


def _notes_path(order: TrainOrder) -> Path:
    return order.work / "hosted.json"


def _pause(seconds: float, look: Callable[[], None]) -> None:
    """Wait, and look now and then whether to go on; what `look` raises ends the wait."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        look()
        threading.Event().wait(min(left, LOOK_S))
    look()
