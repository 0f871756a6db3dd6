"""`airboss eval`: two releases over a dataset, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.dataset_words import read_file
from airboss.cli.eval_contest import PREFIX, contest_shown, contested, show_contest
from airboss.cli.eval_estimate import show_estimate
from airboss.cli.eval_items import items
from airboss.cli.eval_judges import judges
from airboss.cli.eval_report import show_evals, show_report
from airboss.cli.follow_job import DetachOption, WaitOption, listed, ordered, shown, tell
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.output import console, print_json
from airboss.cli.scorers import scorer_of
from airboss.domain.errors import WrongCall

eval = typer.Typer(help="Releases compared over a dataset, item by item.", no_args_is_help=True)


eval.command("judges")(judges)
eval.command("items")(items)


@eval.command("run")
def run(
    *,
    dataset: Annotated[str, typer.Option(help="The dataset, by name or digest.")],
    deployment: Annotated[str | None, typer.Option(help="The deployment that the releases are of.")] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(help="B, which is judged: a name, a digest or an evaluation's id; up to 8 times."),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Judged in place of a release: what your own app answered; - is stdin."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What that app is called.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="A, which B is held against, named as B is; none to score B alone."),
    ] = None,
    scorer: Annotated[list[str], typer.Option(help="As KIND, KIND:ARGUMENT or a JSON table; repeatable.")],
    part: Annotated[str, typer.Option(help="train, validation or holdout.")] = "validation",
    why: Annotated[str | None, typer.Option(help="Why the holdout is read; it is written down.")] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(help="SCORER:better, or SCORER:non-inferior:0.02 by a margin; exit 1 unless all pass."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="How often each item is asked.")] = 1,
    alpha: Annotated[float, typer.Option(help="Intervals have confidence 1 - alpha.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the resampling; the same seed, the same numbers.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Items asked at once.")] = 8,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would ask and cost, and ask nothing.")
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Ask two releases the same questions, score the answers, and say which is better and how sure that is.

    Without a second release it scores the one there is; of several --release each is held against A. With
    --answers it judges an app of your own, which is no release.

    It runs in the controller: neither Ctrl-C nor a crash ends it, and no answer is paid for twice.
    """
    order: dict[str, Any] = {
        "dataset": dataset,
        "deployment": deployment,
        **judged(release),
        "baseline": baseline,
        "scorers": [scorer_of(each, data_dir if url is None else None) for each in scorer],
        "part": read_part(part),
        "gates": gate or [],
        "repeats": repeats,
        "alpha": alpha,
        "seed": seed,
        "concurrency": concurrency,
        "why": why,
    }
    if answers is not None or name is not None:
        order["answers"] = of_app(answers, name)
    if dry_run:
        reckon(order, data_dir=data_dir, url=url, as_json=as_json)
        return
    if "releases" in order:
        contested(order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
        return
    found = ordered("evals", order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_report, as_json=as_json)
    decision = found["report"]["decision"]
    if decision is not None and decision["conclusion"] != "pass":
        raise typer.Exit(1)


def judged(release: Sequence[str] | None) -> dict[str, Any]:
    """What is judged, as an order has it: one release, or several."""
    if release and len(release) > 1:
        return {"releases": list(release)}
    return {"release": release[0] if release else None}


def of_app(answers: Path | None, name: str | None) -> dict[str, str]:
    """An app's answers, as an order has them. Raises WrongCall unless both are given."""
    if answers is None or name is None:
        raise WrongCall(
            "--answers FILE and --name NAME belong together: what your app answered, and its name"
        )
    return {"name": name, "jsonl": read_file(answers), "source": str(answers)}


def reckon(order: Mapping[str, Any], *, data_dir: Path, url: str | None, as_json: bool) -> None:
    """Say what an order would cost."""
    with reach(data_dir, url) as api:
        reckoned = api.post("/api/v1/evals/estimate", order)
    if as_json:
        print_json(reckoned)
    else:
        show_estimate(reckoned)


@eval.command("list")
def list_evals(
    *,
    dataset: Annotated[
        str | None, typer.Option(help="Of these, only those on the dataset so called.")
    ] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List evaluations, newest first, with what A and B scored."""
    more = {"dataset": dataset} if dataset is not None else {}
    listed("evals", limit, more, data_dir=data_dir, url=url, as_json=as_json, show=show_evals)


@eval.command("show")
def show(
    eval_id: Annotated[
        str, typer.Argument(metavar="ID", help="The evaluation, as `eval list` names it, or the contest.")
    ],
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show what an evaluation found; of one of several against the same baseline, or of all, their table."""
    where: Any = {"data_dir": data_dir, "url": url, "as_json": as_json}
    if eval_id.startswith(PREFIX):
        tell(contest_shown(eval_id, wait=wait, **where), show_contest, as_json=as_json)
        return
    found = shown("evals", eval_id, wait=wait, **where)
    if "contest" in found["summary"]:
        found["table"] = contest_shown(eval_id, wait=False, **where)
    tell(found, show_one, as_json=as_json)


def show_one(found: dict[str, Any]) -> None:
    """An evaluation, and the table of its contest."""
    show_report(found)
    if "table" in found:
        console().print()
        show_contest(found["table"])


def read_part(part: str) -> str:
    """A part's name. Raises WrongCall."""
    if part not in ("train", "validation", "holdout"):
        raise WrongCall(f"--part {part!r} is none; it is train, validation or holdout")
    return part
