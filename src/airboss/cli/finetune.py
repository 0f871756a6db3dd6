"""`airboss finetune`: train a model on a dataset, and judge it once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.cli.finetune_report import show_finetune, show_finetunes
from airboss.cli.follow_job import DetachOption, WaitOption, listed, ordered, shown, tell
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.scorers import scorer_of

finetune = typer.Typer(
    help="Train a model on a dataset, judged once on data it has not seen.", no_args_is_help=True
)


@finetune.command("run")
def run(
    *,
    deployment: Annotated[str, typer.Option(help="The deployment whose model is to be better.")],
    dataset: Annotated[str, typer.Option(help="The dataset, by name or digest.")],
    release: Annotated[
        str | None, typer.Option(help="The release whose model is trained, to beat; what is served now.")
    ] = None,
    scorer: Annotated[str, typer.Option(help="As KIND, KIND:ARGUMENT or a JSON table.")] = "exact",
    epochs: Annotated[int, typer.Option(min=1, max=50, help="How often each example is learnt from.")] = 3,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Of a hosted model, times the provider's own; the trainer's choice unless given."),
    ] = None,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of a local model's adapter.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the training, where the trainer takes one.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name of the new model and release; RELEASE-finetuned unless given.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Better means so on the holdout, at confidence 1 - alpha.")
    ] = 0.05,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Calls of the judgement at once.")] = 4,
    people: Annotated[
        bool,
        typer.Option("--people", help="Learn from what people said too; no `erase` makes a model forget it."),
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Train a release's model on the train part, at its provider or on this machine.

    The release with the new model is judged once on the locked holdout, against today's. Better: model and
    release stand in the configuration, ready for `rollout start`. Not better: exit 1, and nothing does.
    """
    order: dict[str, Any] = {
        "deployment": deployment,
        "dataset": dataset,
        "release": release,
        "scorer": scorer_of(scorer, data_dir if url is None else None),
        "epochs": epochs,
        "learning_rate": learning_rate,
        "rank": rank,
        "seed": seed,
        "name": name,
        "alpha": alpha,
        "concurrency": concurrency,
        "people": people,
    }
    found = ordered("finetunes", order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_finetune, as_json=as_json)
    if not found["result"]["better"]:
        raise typer.Exit(1)


@finetune.command("list")
def list_finetunes(
    *,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List fine-tunings, newest first."""
    listed("finetunes", limit, data_dir=data_dir, url=url, as_json=as_json, show=show_finetunes)


@finetune.command("show")
def show(
    finetune_id: Annotated[
        str, typer.Argument(metavar="ID", help="The fine-tuning, as `finetune list` names it.")
    ],
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show what came of a fine-tuning."""
    found = shown("finetunes", finetune_id, wait=wait, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_finetune, as_json=as_json)
