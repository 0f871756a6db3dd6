"""`airboss tune`: search for a better prompt, and judge it once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.cli.follow_job import DetachOption, WaitOption, listed, ordered, shown, tell
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.scorers import scorer_of
from airboss.cli.tune_report import show_tune, show_tunes
from airboss.domain.errors import WrongCall

tune = typer.Typer(
    help="Search for a better prompt, judged once on data it has not seen.", no_args_is_help=True
)

FORMS = ("system", "turns", "completion")


@tune.command("run")
def run(
    *,
    deployment: Annotated[str, typer.Option(help="The deployment whose prompt is to be better.")],
    dataset: Annotated[str, typer.Option(help="The dataset, by name or digest.")],
    release: Annotated[
        str | None, typer.Option(help="The release to begin with and to beat; what is served now.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="As KIND, KIND:ARGUMENT or a JSON table.")] = "exact",
    reflector: Annotated[
        str | None, typer.Option(help="The deployment that writes instructions, from what went wrong.")
    ] = None,
    budget: Annotated[
        int, typer.Option(min=1, help="The most calls, of every kind; what was asked before is free.")
    ] = 2_000,
    seed: Annotated[int, typer.Option(help="Of the search; the same seed, the same search.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name of the new release; RELEASE-tuned unless given.")
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(help="A prompt form to try: system, turns or completion; repeatable; all unless given."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Better means so on the holdout, at confidence 1 - alpha.")
    ] = 0.05,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Calls at once.")] = 4,
    people: Annotated[
        bool,
        typer.Option("--people", help="Make prompts of what people said too; no `erase` takes it out again."),
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Search instructions, examples and prompt form for a release that beats today's.

    Candidates are made from the train part, chosen on validation, and the best is judged once on the locked
    holdout. Better: it stands in the configuration, ready for `rollout start`. Not better: exit 1.
    """
    for each in form or ():
        if each not in FORMS:
            raise WrongCall(f"--form {each!r} is none; it is {', '.join(FORMS)}")
    order: dict[str, Any] = {
        "deployment": deployment,
        "dataset": dataset,
        "release": release,
        "scorer": scorer_of(scorer, data_dir if url is None else None),
        "reflector": reflector,
        "budget": budget,
        "seed": seed,
        "name": name,
        "alpha": alpha,
        "concurrency": concurrency,
        "people": people,
    }
    if form:
        order["forms"] = form
    found = ordered("tunes", order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_tune, as_json=as_json)
    if not found["result"]["better"]:
        raise typer.Exit(1)


@tune.command("list")
def list_tunes(
    *,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List tunings, newest first."""
    listed("tunes", limit, data_dir=data_dir, url=url, as_json=as_json, show=show_tunes)


@tune.command("show")
def show(
    tune_id: Annotated[str, typer.Argument(metavar="ID", help="The tuning, as `tune list` names it.")],
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show what a tuning found."""
    found = shown("tunes", tune_id, wait=wait, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_tune, as_json=as_json)
