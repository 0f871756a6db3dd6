"""`airboss dataset`: questions with expected answers, in three parts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.dataset_add import add
from airboss.cli.dataset_change import expect, remove
from airboss.cli.dataset_words import (
    GROUPS,
    PARTS,
    ApprovedOption,
    NameArgument,
    corrected,
    read_approved,
    read_file,
    summary,
)
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import (
    console,
    escape,
    local_time,
    print_json,
    print_list,
    print_nothing,
    say,
    table_of,
)
from airboss.cli.records_filters import ScoreOption, SlowerOption, TagOption, filters, in_ms
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

dataset = typer.Typer(
    help="Questions with the answers expected of them, in three parts.", no_args_is_help=True
)


@dataset.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    *,
    file: Annotated[Path | None, typer.Option(help="JSON Lines or CSV to read; - is stdin.")] = None,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="Make it of recorded calls that match the filters.")
    ] = False,
    deployment: Annotated[str | None, typer.Option(help="Only calls to this deployment.")] = None,
    status: Annotated[str | None, typer.Option(help="ok, error, cancelled or refused.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: 15m, 2h, 7d or ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time, written as for --since.")] = None,
    model: Annotated[str | None, typer.Option(help="Only calls answered by this model.")] = None,
    user: Annotated[str | None, typer.Option(help="Only calls of this user.")] = None,
    tag: TagOption = None,
    score: ScoreOption = None,
    slower_ms: SlowerOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many items.")] = 1_000,
    approved: ApprovedOption = None,
    only_approved: Annotated[
        bool, typer.Option("--only-approved", help="Leave out records that are not approved.")
    ] = False,
    group_by: Annotated[str, typer.Option(help="What stays in one part: user, session or none.")] = "user",
    split: Annotated[str, typer.Option(help="Percents of train/validation/holdout.")] = "40/30/30",
    seed: Annotated[int, typer.Option(help="Draws the parts; the same seed, the same parts.")] = 0,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Keep a dataset made of a file, or of recorded calls; all of it or nothing."""
    if (file is None) != from_records:
        raise WrongCall("give either --file FILE or --from-records, which takes the filters of `records`")
    if group_by not in GROUPS:
        raise WrongCall(f"--group-by {group_by!r} is none; it is user, session or none")
    train, validation = read_split(split)
    body: dict[str, Any] = {"name": name, "train": train, "validation": validation, "seed": seed}
    query = filters(
        deployment=deployment,
        status=status,
        since=since,
        until=until,
        model=model,
        user=user,
        tag=tag,
        score=score,
        slower_ms=in_ms(slower_ms),
    )
    if file is not None:
        if query or approved or only_approved:
            raise WrongCall("filters are for --from-records; a file is taken whole")
        body |= {"jsonl": read_file(file), "source": str(file)}
    else:
        score, least = read_approved(approved)
        body["records"] = {
            "filters": query,
            "limit": limit,
            "approved": score,
            "at_least": least,
            "only": only_approved,
            "group_by": group_by,
        }
    with reach(data_dir, url) as api:
        made = api.post("/api/v1/datasets", body)
    say(each["words"] for each in made.get("uneven", ()))
    if as_json:
        print_json(made)
        return
    sys.stdout.write(("" if made["new"] else "it was there already\n") + corrected(made))
    sys.stdout.write(summary(made["dataset"]) + "\n")
    for cause, count in made["left_out"].items():
        sys.stderr.write(f"airboss: {many(count, 'record')} left out: {cause}\n")


dataset.command("add")(add)
dataset.command("expect")(expect)
dataset.command("remove")(remove)


@dataset.command("list")
def list_datasets(
    *, as_json: JsonOption = False, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None
) -> None:
    """List datasets, newest first; as a table each in its newest version."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/datasets")["datasets"]
    none = "no datasets yet; `airboss dataset create NAME --file F.jsonl` makes one"
    print_list(found, show_table, none=none, as_json=as_json)


@dataset.command("show")
def show(
    name: NameArgument,
    *,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show a dataset, and who has read its holdout."""
    with reach(data_dir, url) as api:
        found = api.get(place("datasets", name))
    if as_json:
        print_json({**found["dataset"], "readings": found["readings"], "uneven": found.get("uneven", [])})
        return
    sys.stdout.write(summary(found["dataset"]) + "\n")
    for each in found.get("uneven", ()):
        sys.stdout.write(f"{each['words']}\n")
    for each in found["readings"]:
        sys.stdout.write(f"holdout read {local_time(each['at'])} by {each['who']}: {each['why']}\n")


@dataset.command("export")
def export(
    name: NameArgument,
    *,
    part: Annotated[str, typer.Option(help="train, validation or holdout.")] = "train",
    why: Annotated[str | None, typer.Option(help="Why the holdout is read; it is written down.")] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Print a part as JSON Lines, as `create --file` takes them."""
    del as_json  # it prints JSON anyhow
    if part not in PARTS:
        raise WrongCall(f"--part {part!r} is none; it is train, validation or holdout")
    if part == "holdout" and not why:
        raise WrongCall("the holdout is locked: say --why it is read, which is written down")
    with reach(data_dir, url) as api:
        if part == "holdout":
            found = api.post(place("datasets", name, "/holdout"), {"why": why})
        else:
            found = api.get(place("datasets", name, "/items"), {"part": part})
        if not found["items"]:
            sizes = api.get(place("datasets", name))["dataset"]["sizes"]
            there = ", ".join(f"{each} has {sizes[each]:,}" for each in PARTS)
            print_nothing(f"{part} of {name!r} is empty: {there}; --part names another")
    for item in found["items"]:
        print_json(line(item, part))


@dataset.command("delete")
def delete(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, delete it.")] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Delete a dataset in all its versions, with the answers to its items; reports on it stay."""
    if not yes:
        raise WrongCall(f"this deletes every version of {name!r} and the answers to its items; say --yes")
    with reach(data_dir, url) as api:
        done = api.post(place("datasets", name, "/delete"), {})
    if as_json:
        print_json(done)
        return
    sys.stdout.write(f"deleted {done['deleted']}\n")


def read_split(text: str) -> tuple[float, float]:
    """The shares of train and validation in `60/20/20`. Raises WrongCall unless three percents make 100."""
    parts = text.split("/")
    try:
        percents = [float(part) for part in parts]
    except ValueError:
        percents = []
    if len(percents) != 3 or min(percents) < 0 or abs(sum(percents) - 100) > 1e-6:
        raise WrongCall(
            f"--split {text!r}: three percents of train/validation/holdout, as 60/20/20, that make 100"
        )
    return percents[0] / 100, percents[1] / 100


def line(item: dict[str, Any], part: str) -> dict[str, Any]:
    """An item as a line of a file, pinned to its part, without what is not set."""
    given = {**item, "part": part}
    kept = ("id", "input", "expected", "tags", "group", "part", "user")
    return {name: given[name] for name in kept if given.get(name) not in (None, [], {})}


def show_table(found: list[dict[str, Any]]) -> None:
    """Datasets as a table."""
    out = console()
    left = ("name", "digest", "created")
    table = table_of("name", "digest", *PARTS, "erased", "holdout reads", "created", left=left)
    newest = {each["name"]: each for each in reversed(found)}
    shown = [each for each in found if newest[each["name"]] is each]
    for each in shown:
        table.add_row(
            escape(each["name"]),
            each["digest"][:12],
            *(str(each["sizes"][part]) for part in PARTS),
            str(each["erased"]),
            str(each["holdout_reads"]),
            local_time(each["created_at"]),
        )
    out.print(table)
    if len(shown) < len(found):
        out.print(f"and {many(len(found) - len(shown), 'version')} of before; --json lists them")
