"""`airboss dataset add`: calls by their ids or by filters, or a file, as a version more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.caught_up import catch_up
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
from airboss.cli.output import print_json, print_nothing
from airboss.cli.records_filters import (
    DeploymentOption,
    ModelOption,
    ScoreOption,
    SinceOption,
    SlowerOption,
    TagOption,
    UntilOption,
    UserOption,
    filters,
    in_ms,
)
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

LIMIT = 1_000
"""Items that a filter makes, unless it is told otherwise."""

RecordOption = Annotated[
    list[str] | None, typer.Option(help="A recorded call, by its id; give it again for more.")
]
FromRecordsOption = Annotated[
    bool, typer.Option("--from-records", help="All recorded calls that match the filters.")
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="Of calls that match the newest so many; 1000.")
]


def add(
    name: NameArgument,
    *,
    record: RecordOption = None,
    from_records: FromRecordsOption = False,
    file: Annotated[Path | None, typer.Option(help="JSON Lines or CSV to read; - is stdin.")] = None,
    deployment: DeploymentOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    model: ModelOption = None,
    user: UserOption = None,
    tag: TagOption = None,
    score: ScoreOption = None,
    slower_ms: SlowerOption = None,
    limit: LimitOption = None,
    expected: Annotated[str | None, typer.Option(help="The answer that the record's item expects.")] = None,
    answered: Annotated[
        bool, typer.Option("--answered", help="What was answered is what the records' items expect.")
    ] = False,
    approved: ApprovedOption = None,
    only_approved: Annotated[
        bool, typer.Option("--only-approved", help="Of those that match, leave out what is not approved.")
    ] = False,
    group_by: Annotated[
        str | None, typer.Option(help="What stays in one part: user, session or none; else as before.")
    ] = None,
    part: Annotated[str | None, typer.Option(help="Where to put it: train, validation or holdout.")] = None,
    make: Annotated[
        bool, typer.Option("--create", help="Make it, all in validation, where there is none.")
    ] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Add recorded calls or a file's items to a dataset: all or none, and of a filter what can be added."""
    query = filters(
        deployment=deployment,
        status=None,
        since=since,
        until=until,
        model=model,
        user=user,
        tag=tag,
        score=score,
        slower_ms=in_ms(slower_ms),
    )
    check(
        record=bool(record),
        file=file is not None,
        from_records=from_records,
        of_all=bool(query) or only_approved or limit is not None,
        of_one=expected is not None or answered,
        of_calls=bool(approved or group_by),
    )
    check_words(group_by, part)
    least = dict(zip(("approved", "at_least"), read_approved(approved), strict=True))
    body: dict[str, Any] = {"part": part, "create": make}
    if file is not None:
        body |= {"jsonl": read_file(file), "source": str(file)}
    elif record:
        said = {"ids": record, "expected": expected, "answered": answered}
        body["records"] = {**said, **least, "group_by": group_by}
    else:
        some = {"filters": query, "limit": limit or LIMIT, "only": only_approved}
        body["matching"] = {**some, **least, "group_by": group_by}
    send(name, body, as_json=as_json, data_dir=data_dir, url=url)


def send(name: str, body: dict[str, Any], *, as_json: bool, data_dir: Path, url: str | None) -> None:
    """Have it added, and tell what came of it."""
    with reach(data_dir, url) as api:
        if "jsonl" not in body:
            catch_up(api)
        done = api.post(place("datasets", name, "/add"), body)
    changed = done.get("changed", 0)
    if not done["added"] and not done["left_out"] and not changed:
        made = "; no dataset was made" if done["dataset"] is None else ""
        print_nothing(f"no record matches; nothing was added to {name!r}{made}")
    if as_json:
        print_json(done)
        return
    for cause, count in done["left_out"].items():
        sys.stderr.write(f"airboss: {many(count, 'item')} left out: {cause}\n")
    if done["dataset"] is None:
        return
    where = ", ".join(f"{each} {done['parts'][each]}" for each in PARTS if each in done["parts"])
    sys.stdout.write(
        f"added {many(done['added'], 'item')}{f' ({where})' if where else ''}\n{corrected(done)}"
        f"{righted(changed)}"
        f"{summary(done['dataset'])}\n"
    )


def righted(count: int) -> str:
    """A line on how many items that were there took what people wrote in place of the answer, where any
    did."""
    verb = "was there and expects" if count == 1 else "were there and expect"
    return f"{many(count, 'item')} {verb} now what people wrote in place of the answer\n" if count else ""


def check(
    *, record: bool, file: bool, from_records: bool, of_all: bool, of_one: bool, of_calls: bool
) -> None:
    """Raises WrongCall unless what is added is said once, with options that mean something for it."""
    if [record, file, from_records].count(True) != 1:
        raise WrongCall(
            "give either --record ID, as often as you like, or --file FILE, or --from-records, which takes "
            "filters"
        )
    if of_all and not from_records:
        raise WrongCall("filters, --limit and --only-approved are for --from-records")
    if of_one and from_records:
        raise WrongCall("--expected and --answered are for --record; --approved says it of calls that match")
    if file and (of_one or of_calls):
        raise WrongCall(
            "--expected and --answered are for --record, --approved and --group-by for recorded calls; a "
            "file says it itself"
        )


def check_words(group_by: str | None, part: str | None) -> None:
    """Raises WrongCall for what can be neither kept together nor a part."""
    if group_by not in (None, *GROUPS):
        raise WrongCall(f"--group-by {group_by!r} is none; it is user, session or none")
    if part not in (None, *PARTS):
        raise WrongCall(f"--part {part!r} is none; it is train, validation or holdout")
