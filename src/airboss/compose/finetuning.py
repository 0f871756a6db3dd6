"""Fine-tuning as jobs of the controller: who trains where, and what becomes of what was trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.compose.evals import caller, run_until_stopped, scorers_dir, utc_now
from airboss.compose.parts import provider_key
from airboss.compose.tuning import open_tunes, put
from airboss.domain.errors import AirbossError, SetupError, WrongCall
from airboss.domain.plan import Target

if TYPE_CHECKING:
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger
    from airboss.domain.release import Release
    from airboss.releases.trained import NewModel
    from airboss.store.datadir import DataDir
    from airboss.store.job_rows import Job, JobStore
    from airboss.tuning.finetune import FineTuning
    from airboss.tuning.finetune_orders import FinetuneOrders
    from airboss.tuning.finetune_plan import FinetuneResult, FinetuneTask, Learned, Place
    from airboss.tuning.ports import Trainer
    from airboss.tuning.training_files import TrainingFiles

Propose = Callable[..., object]
"""`Rollouts.propose`: writes a release, and its model if it is new, into the configuration."""

END: Final = "finetune.end"
"""What the audit log calls the end of a fine-tuning."""

SWEEP_S: Final = 5.0
SETTLED_S: Final = 30.0
"""So long after a job's end whoever worked at it has left it."""


def orders(ledger: Ledger, data: DataDir, rooms: Mapping[str, Any]) -> FinetuneOrders:
    """Takes orders for fine-tuning; `rooms` are the stores of `rooms.open_rooms`."""
    from airboss.tuning.finetune_orders import FinetuneOrders  # noqa: PLC0415 - numbers and schemas

    return FinetuneOrders(
        store=rooms["evals"],
        jobs=rooms["jobs"],
        ledger=ledger,
        now=utc_now,
        scorers=scorers_dir(data),
        ready=check_ready,
    )


def check_ready(place: Place) -> None:
    """Raises WrongCall where a model cannot be trained at a place: its key is missing, say."""
    if place.kind == "local":
        raise WrongCall("models of this machine are not trained here; name a release at a provider")
    try:
        provider_key(_target(place))
    except AirbossError as error:
        raise WrongCall(str(error)) from error


def trainer_of(task: FinetuneTask) -> Trainer:
    """Who trains the model of a task. Raises SetupError where nobody does."""
    from airboss.tuning.hosted import HostedTrainer  # noqa: PLC0415 - an HTTP client, where needed
    from airboss.tuning.hosted_http import Provider  # noqa: PLC0415 - as above

    place = task.place
    base_url = place.base_url
    if base_url is None:
        raise SetupError(f"nobody trains models of provider {place.provider!r} here")
    return HostedTrainer(
        lambda: Provider(place.provider, base_url, provider_key(_target(place))),
        old_way=place.kind != "openai",
    )


def _target(place: Place) -> Target:
    return Target(
        provider=place.provider,
        kind=place.kind,
        base_urls=(place.base_url or "",),
        upstream_model="",
        api_key_ref=place.api_key_ref,
    )


def handler(ledger: Ledger, data: DataDir, rooms: Mapping[str, Any], propose: Propose) -> Handler:
    """Does jobs of kind `finetune`; what turns out to be better is proposed."""
    from airboss.tuning.finetune import FineTuning  # noqa: PLC0415 - as above
    from airboss.tuning.training_files import TrainingFiles  # noqa: PLC0415 - as above

    files = TrainingFiles(data.finetune_dir)

    def work(job: Job, progress: Progress) -> object:
        with open_tunes(data) as tunes:
            tuning = FineTuning(
                job, evals=rooms["evals"], tunes=tunes, files=files, now=utc_now, report=progress.report
            )
            try:
                learned = tuning.learned() or _learned(tuning, job, files, rooms["jobs"])
                files.drop(job.id)

                async def main() -> FinetuneResult:
                    async with aclosing(caller(ledger, data)) as calls:
                        return await tuning.judge(learned, calls)

                result = _taken(run_until_stopped(main(), progress), learned, tuning.task, propose)
            except AirbossError as error:
                files.drop(job.id)
                note(rooms, job, outcome="failed", error=type(error).__name__)
                raise
        note(
            rooms,
            job,
            outcome="better" if result.better else "not better",
            release=result.release.digest,
            model=learned.trained.fields,
            examples=learned.examples,
            trained_tokens=learned.trained.trained_tokens,
            proposed=result.proposed,
        )
        return result

    return work


def _learned(tuning: FineTuning, job: Job, files: TrainingFiles, jobs: JobStore) -> Learned:
    """What was trained. Where the job fails, or nobody wants it any more, nothing of it goes on elsewhere."""
    from airboss.controller.jobs import JobCancelled  # noqa: PLC0415 - the controller's own
    from airboss.tuning.finetune import order_of  # noqa: PLC0415 - as above

    trainer = trainer_of(tuning.task)
    try:
        return tuning.learn(trainer)
    except AirbossError:
        trainer.abandon(order_of(tuning.task, job.id, files))
        raise
    except JobCancelled:
        now = jobs.get(job.id)
        if now is None or now.state == "cancelled":  # else it goes on in another process, or later
            trainer.abandon(order_of(tuning.task, job.id, files))
            files.drop(job.id)
        raise


def _taken(result: FinetuneResult, learned: Learned, task: FinetuneTask, propose: Propose) -> FinetuneResult:
    """What is better stands in the configuration, or the result says why not."""
    from airboss.releases.trained import NewModel  # noqa: PLC0415 - as above
    from airboss.tuning.finetune import proposed, unproposed  # noqa: PLC0415 - as above

    if not result.better:
        return result
    model: NewModel = NewModel(base=task.base.model, fields=learned.trained.fields)

    def propose_both(name: str, release: Release) -> object:
        return propose(name, release, model)

    try:
        return proposed(result, put(propose_both, result.release))
    except AirbossError as error:
        return unproposed(result, str(error))


def note(rooms: Mapping[str, Any], job: Job, **detail: Any) -> None:
    """Add a fine-tuning's end to the audit log."""
    rooms["audit"].append(END, actor="airboss", subject=job.id, detail=detail, at=utc_now())


class Leftovers:
    """`chores.Chore`: ends what was begun for jobs that were cancelled while nobody worked at them."""

    def __init__(self, data: DataDir, jobs: JobStore) -> None:
        self._data = data
        self._jobs = jobs
        self._not_before = 0.0

    def tick(self) -> None:
        """As `Chore.tick`."""
        if time.monotonic() < self._not_before or not self._data.finetune_dir.exists():
            return
        self._not_before = time.monotonic() + SWEEP_S
        from airboss.tuning.finetune import order_of  # noqa: PLC0415 - where there are any
        from airboss.tuning.finetune_plan import FinetuneTask  # noqa: PLC0415 - as above
        from airboss.tuning.training_files import TrainingFiles  # noqa: PLC0415 - as above

        files = TrainingFiles(self._data.finetune_dir)
        for name in files.jobs():
            job = self._jobs.get(name)
            if job is None:
                files.drop(name)
            elif job.ended and (utc_now() - job.updated_at).total_seconds() > SETTLED_S:
                task = msgspec.json.decode(job.spec, type=FinetuneTask)
                trainer_of(task).abandon(order_of(task, name, files))
                files.drop(name)
