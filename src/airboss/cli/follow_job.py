"""Follows a job of the controller's to its end, with a bar for people, and lines for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import typer

from airboss.cli.api import Api, Unreachable, place, reach
from airboss.cli.output import Rows, print_json, print_list, say
from airboss.domain.errors import AirbossError, WrongCall
from airboss.store.job_rows import Job
from airboss.store.wording import many

Found = TypeVar("Found")

NOUNS = {
    "evals": "an evaluation",
    "scorings": "scoring",
    "probes": "a probe",
    "tunes": "tuning",
    "finetunes": "fine-tuning",
}
"""What the admin API calls each kind of job that there are verbs for, in words."""

NONE = {
    "evals": "no evaluations yet; `airboss eval run` makes one",
    "scorings": "nothing was scored so yet; `airboss scoring run` begins",
    "probes": "no probes yet; `airboss probe bias` makes one",
    "tunes": "nothing was tuned yet; `airboss tune run` begins",
    "finetunes": "nothing was fine-tuned yet; `airboss finetune run` begins",
}
"""What is said where there is none."""

DetachOption = Annotated[bool, typer.Option("--detach", help="Print its id and do not wait.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is done.")]

POLL_S = 0.3
TOLD_S = 30.0
"""How often a log hears how far a job is: who reads it should not take a long one for one that hangs."""
GONE_S = 60.0
"""How long a controller that does not answer is waited for: it is started again when it dies, and the job
goes on."""


class Shown(Protocol):
    """Shows how far a job is."""

    def __call__(self, job: Job) -> None:
        """`job` stands so now."""


def follow(api: Api, job_id: str, *, as_json: bool, label: str) -> Job:
    """The job once it is done; a bar or lines on stderr meanwhile, unless with `as_json`. A controller that
    is started again meanwhile is waited for.

    Raises AirbossError where the job failed or was cancelled. Ctrl-C as in `left`.
    """
    with left(job_id, "job show"):
        job = ended(api, job_id, as_json=as_json, label=label)
    if job.state == "failed":
        raise AirbossError(f"{job_id} failed: {job.error}")
    if job.state == "cancelled":
        raise AirbossError(f"{job_id} was cancelled after {job.done} of {many(job.total, 'step')}")
    return job


def ended(api: Api, job_id: str, *, as_json: bool, label: str) -> Job:
    """As `follow`, for a job that may have failed or been cancelled as well; Ctrl-C passes through."""
    told = silence() if as_json else bar(label) if sys.stderr.isatty() else lines(label)
    with told as show:
        while True:
            job = read_job(outlasting(lambda: api.get(place("jobs", job_id))))
            show(job)
            if job.ended:
                return job
            time.sleep(POLL_S)  # who has only HTTP to ask by is told of no end


@contextmanager
def left(what: str, verb: str) -> Iterator[None]:
    """Ctrl-C in the block leaves `what` running, says so on stderr with the `verb` that shows it, and ends
    with 130, as a shell would. So is it told where nobody answers any more, which raises Unreachable."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"\nairboss: {what} goes on without you; see it with `airboss {verb} {what}`\n")
        raise SystemExit(130) from None
    except Unreachable as error:
        goes_on = f"{what} goes on when it runs again: see it with `airboss {verb} {what}`"
        raise Unreachable(f"{error} {goes_on}") from error


def outlasting(ask: Callable[[], Found]) -> Found:
    """What `ask` gives, which is asked again while nobody answers. Raises Unreachable after GONE_S."""
    began = time.monotonic()
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() - began > GONE_S:
                raise
        time.sleep(POLL_S)  # a controller that is started again wakes nobody


def listed(
    name: str,
    limit: int,
    more: Mapping[str, str] = MappingProxyType({}),
    *,
    data_dir: Path,
    url: str | None,
    as_json: bool,
    show: Callable[[Rows], None],
) -> None:
    """The newest of one kind of job (a name in NOUNS), as JSON or as `show` does; `more` narrows them."""
    with reach(data_dir, url) as api:
        found: Rows = api.get(f"/api/v1/{name}", {"limit": str(limit), **more})[name]
        say_stopped(api, found)
    none = f"no {name} match" if more else NONE[name]
    print_list(found, show, none=none, as_json=as_json)


def ordered(
    name: str,
    order: Mapping[str, Any],
    *,
    detach: bool,
    data_dir: Path,
    url: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Order one of them and wait until it is done; then it in full. With `detach` the verb ends here, with
    its id printed. Raises WrongCall where no Airboss runs, and as `follow`."""
    with reach(data_dir, url) as api:
        job_id = begun(api, name, order)["id"]
        if detach:
            say_id(job_id, as_json=as_json)
            raise typer.Exit
        follow(api, job_id, as_json=as_json, label=label(order))
        return outlasting(lambda: whole(api, name, job_id))


def label(order: Mapping[str, Any]) -> str:
    """What is done, beside the bar."""
    if "filters" in order:
        return "recorded calls"
    what = f"{order['dataset']} on" if "dataset" in order else "bias of"
    return f"{what} {order['deployment']}"


def begun(api: Api, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """The job that an order became, with what is to be known of its dataset said. Raises WrongCall where no
    Airboss runs."""
    if not api.running:
        raise WrongCall(f"{NOUNS[name]} needs a running Airboss; start it with `airboss up`")
    job: dict[str, Any] = api.post(f"/api/v1/{name}", order)
    say(job["spec"].get("uneven", ()))
    return job


def shown(
    name: str, job_id: str, *, wait: bool, data_dir: Path, url: str | None, as_json: bool
) -> dict[str, Any]:
    """One of them in full; with `wait`, once it is done."""
    with reach(data_dir, url) as api:
        if wait and api.running:
            follow(api, job_id, as_json=as_json, label=job_id)
            return outlasting(lambda: whole(api, name, job_id))
        found = whole(api, name, job_id)
        say_stopped(api, [found.get("summary", found)])
        return found


def whole(api: Api, name: str, job_id: str) -> dict[str, Any]:
    """One of them in full, as it stands."""
    found: dict[str, Any] = api.get(place(name, job_id))
    return found


def say_stopped(api: Api, found: Rows) -> None:
    """Say on stderr of jobs that have not ended that nobody is at work on them, where no Airboss runs."""
    waiting = [each["id"] for each in found if each["state"] in ("queued", "running")]
    if waiting and not api.running:
        them = f"{waiting[0]} goes" if len(waiting) == 1 else f"{many(len(waiting), 'job')} go"
        say([f"no Airboss runs here; {them} on when one does: `airboss up`"])


def tell(found: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool) -> None:
    """One of them as one JSON object, the fields of its summary, if it has one, first; or as `show` does."""
    if not as_json:
        show(found)
        return
    rest = {name: value for name, value in found.items() if name != "summary"}
    print_json({**found.get("summary", {}), **rest})


def say_id(job_id: str, *, as_json: bool) -> None:
    """Print the id of a job that nobody waits for."""
    if as_json:
        print_json({"id": job_id})
    else:
        sys.stdout.write(f"{job_id}\n")


def read_job(value: Any) -> Job:
    """A job as the admin API gives it."""
    raw = {name: msgspec.Raw(msgspec.json.encode(value[name])) for name in ("spec", "result")}
    times = {name: datetime.fromisoformat(value[name]) for name in ("created_at", "updated_at")}
    if value["result"] is None:
        raw["result"] = None  # type: ignore[assignment]  # no result is no JSON null
    return Job(**{**value, **raw, **times})


@contextmanager
def silence() -> Iterator[Shown]:
    """Shows nothing."""
    yield lambda job: None  # noqa: ARG005 - as `Shown` has it


@contextmanager
def lines(label: str) -> Iterator[Shown]:
    """A line on stderr every TOLD_S, where it is no terminal."""
    began, told = time.monotonic(), 0.0

    def show(job: Job) -> None:
        nonlocal told
        took = time.monotonic() - began
        if not job.ended and took - told >= TOLD_S:
            told = took
            far = f"{job.done} of {many(job.total, 'step')}" if job.total else job.state
            say([f"{label}: {far} after {took:.0f} s; `airboss job show {job.id}`"])

    yield show


@contextmanager
def bar(label: str) -> Iterator[Shown]:
    """A bar on stderr, gone when it is done."""
    from rich.console import Console  # noqa: PLC0415 - 40 ms that JSON output need not pay
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None, note="waiting")
        yield lambda job: progress.update(
            task, completed=job.done, total=job.total or None, note=job.note or job.state
        )
