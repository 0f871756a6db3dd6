"""Fine-tuning as jobs of the controller: who trains where, and what becomes of what was trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.compose.evals import caller, parts, run_until_stopped, utc_now
from airboss.compose.parts import provider_key
from airboss.compose.tuning import open_tunes
from airboss.domain.errors import AirbossError, WrongCall
from airboss.domain.plan import Target
from airboss.store.ledger_trouble import LedgerTrouble

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.controller.jobs import Handler, Progress
    from airboss.domain.ports import Ledger
    from airboss.evaluations.caller_http import HttpCaller
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


def orders(ledger: Ledger, data: DataDir, stores: Stores) -> FinetuneOrders:
    """Takes orders for fine-tuning."""
    from airboss.tuning.finetune_orders import FinetuneOrders  # noqa: PLC0415 - numbers and schemas

    return FinetuneOrders(ready=check_ready, **parts(ledger, data, stores))


def check_ready(place: Place) -> None:
    """Raises WrongCall where a model cannot be trained at a place: its key is missing, say."""
    try:
        if place.kind == "local":
            from airboss.tuning.local import check_extra  # noqa: PLC0415 - where models of our own are trained

            check_extra()
        else:
            provider_key(_target(place))
    except AirbossError as error:
        raise WrongCall(str(error)) from error


def trainer_of(task: FinetuneTask, data: DataDir) -> Trainer:
    """Who trains the model of a task."""
    if task.place.kind == "local":
        from airboss.replicas.weights import fetch  # noqa: PLC0415 - as above
        from airboss.tuning.local import LocalTrainer  # noqa: PLC0415 - as above

        base = task.base.model
        return LocalTrainer(
            lambda: fetch(base.model, base.weights_sha256, data.weights_dir), data.adapters_dir
        )
    from airboss.tuning.hosted import HostedTrainer  # noqa: PLC0415 - an HTTP client, where needed
    from airboss.tuning.hosted_http import Provider  # noqa: PLC0415 - as above

    place = task.place
    return HostedTrainer(
        lambda: Provider(place.provider, place.base_url or "", provider_key(_target(place))),
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


def handler(ledger: Ledger, data: DataDir, stores: Stores, propose: Propose) -> Handler:
    """Does jobs of kind `finetune`; what turns out to be better is proposed."""
    from airboss.releases.trained import NewModel  # noqa: PLC0415 - as above
    from airboss.tuning.proposing import proposed  # noqa: PLC0415 - as above
    from airboss.tuning.training_files import TrainingFiles  # noqa: PLC0415 - as above

    files = TrainingFiles(data.finetune_dir)

    def work(job: Job, progress: Progress) -> object:
        from airboss.tuning.finetune import FineTuning  # noqa: PLC0415 - finds personal data: 40 ms, where needed

        with open_tunes(data) as tunes:
            tuning = FineTuning(
                job, evals=stores.evals, tunes=tunes, files=files, now=utc_now, report=progress.report
            )
            try:
                learned = tuning.learned() or _learned(
                    tuning, job, files, trainer_of(tuning.task, data), stores.jobs
                )
                files.drop(job.id)
                check_served(tuning.task, ledger)
                new = NewModel(base=tuning.task.base.model, fields=learned.trained.fields)
                with engine_for(new, ledger, data, progress) as port:
                    asking = caller(ledger, data, stores.people)
                    result = run_until_stopped(judged(tuning, learned, asking, port), progress)
                result = proposed(result, lambda name, release: propose(name, release, new))
                if not result.better and result.judgement.after is not None:
                    _drop_adapter(new, ledger, data)
            except LedgerTrouble:
                raise  # it goes on later, from what is there
            except AirbossError as error:
                files.drop(job.id)
                note(stores, job, outcome="failed", error=type(error).__name__)
                made = tuning.learned()
                if made is None:
                    raise
                fields = ", ".join(f"{name} = {value}" for name, value in made.trained.fields.items())
                raise AirbossError(f"{error}; the model was trained and is there: {fields}") from error
        note(
            stores,
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


def check_served(task: FinetuneTask, ledger: Ledger) -> None:
    """Raises WrongCall where today's release is none of the plan any more: nothing could be compared with it,
    and the holdout would be read for nothing."""
    snapshot = ledger.snapshot()
    if snapshot is None or all(each.release.digest != task.base.digest for each in snapshot.plan.served()):
        raise WrongCall(
            f"release {task.base.name} ({task.base.digest[:8]}), which was to be beaten, is not served any "
            "more, so the new model was not judged; fine-tune what is served now"
        )


async def judged(
    tuning: FineTuning, learned: Learned, asking: HttpCaller, port: int | None
) -> FinetuneResult:
    """The judgement of what was trained."""
    async with aclosing(asking) as calls:
        return await tuning.judge(learned, calls, port=port)


@contextmanager
def engine_for(new: NewModel, ledger: Ledger, data: DataDir, progress: Progress) -> Iterator[int | None]:
    """Where the engine of a new local model answers while it is judged; None for a hosted one."""
    if new.base.kind != "local":
        yield None
        return
    from airboss.compose.candidate_engine import candidate_engine  # noqa: PLC0415 - as above
    from airboss.config import parse_config  # noqa: PLC0415 - as above
    from airboss.releases.trained import base_and_new  # noqa: PLC0415 - as above

    config = parse_config(ledger.config() or "", source="the configuration in force")
    name, settings = base_and_new(config, new, engine_version=new.base.engine_version or "")
    progress.report(0, 0, "starts an engine for the judgement")
    with candidate_engine(settings, data, alias=name, look=progress.check) as port:
        yield port


def _drop_adapter(new: NewModel, ledger: Ledger, data: DataDir) -> None:
    """An adapter that was judged and is no better goes, unless the configuration names it all the same: the
    same training gives the same one."""
    sha256 = new.fields.get("adapter_sha256")
    if sha256 is not None and sha256 not in (ledger.config() or ""):
        (data.adapters_dir / f"{sha256}.gguf").unlink(missing_ok=True)


def _learned(tuning: FineTuning, job: Job, files: TrainingFiles, trainer: Trainer, jobs: JobStore) -> Learned:
    """What was trained. Where the job fails, or nobody wants it any more, nothing of it goes on elsewhere."""
    from airboss.controller.jobs import JobCancelled  # noqa: PLC0415 - the controller's own
    from airboss.tuning.finetune import order_of  # noqa: PLC0415 - as above

    try:
        return tuning.learn(trainer)
    except LedgerTrouble:
        raise  # what is trained somewhere is asked for again
    except AirbossError:
        trainer.abandon(order_of(tuning.task, job.id, files))
        raise
    except JobCancelled:
        now = jobs.get(job.id)
        if now is None or now.state == "cancelled":  # else it goes on in another process, or later
            trainer.abandon(order_of(tuning.task, job.id, files))
            files.drop(job.id)
        raise


def note(stores: Stores, job: Job, **detail: Any) -> None:
    """Add a fine-tuning's end to the audit log."""
    stores.audit.append(END, actor="airboss", subject=job.id, detail=detail, at=utc_now())


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
                trainer_of(task, self._data).abandon(order_of(task, name, files))
                files.drop(name)
