"""`airboss records export` and `import`: records as a file, and from one store to another by it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from airboss.cli.api import Api, patiently, reach
from airboss.cli.caught_up import catch_up
from airboss.cli.files import form_of
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, print_json
from airboss.cli.progress import counted
from airboss.cli.records_filters import (
    ArmOption,
    DeploymentOption,
    ErrorTypeOption,
    KeyOption,
    ModelOption,
    PolicyOption,
    ReleaseOption,
    ScoreOption,
    SessionOption,
    SinceOption,
    SlowerOption,
    StatusOption,
    TagOption,
    TeamOption,
    UntilOption,
    UserOption,
    filters,
    in_ms,
)
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

BATCH_BYTES = 8 * 1024 * 1024


def export(
    file: Annotated[Path, typer.Argument(help="The .parquet or .csv file to write.")],
    *,
    deployment: DeploymentOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    model: ModelOption = None,
    user: UserOption = None,
    score: ScoreOption = None,
    release: ReleaseOption = None,
    key: KeyOption = None,
    session: SessionOption = None,
    tag: TagOption = None,
    team: TeamOption = None,
    policy: PolicyOption = None,
    arm: ArmOption = None,
    error_type: ErrorTypeOption = None,
    slower_ms: SlowerOption = None,
    opened: Annotated[
        bool, typer.Option("--open", help="Open what is sealed: anybody can read it then.")
    ] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Write records, with their bodies and scores, into a Parquet file, which import reads, or a CSV."""
    from airboss.store.joining import Row  # noqa: PLC0415 - as below
    from airboss.store.record_file import RecordFileWriter  # noqa: PLC0415 - DuckDB, where it is needed

    form = form_of(file)
    query = filters(
        deployment=deployment,
        status=status,
        since=since,
        until=until,
        model=model,
        user=user,
        score=score,
        release=release,
        key=key,
        session=session,
        tag=tag,
        team=team,
        policy=policy,
        arm=arm,
        error_type=error_type,
        slower_ms=in_ms(slower_ms),
    )
    if opened:
        query["open"] = "true"
    done = scores = 0
    with (
        reach(data_dir, url) as api,
        RecordFileWriter(file, form) as writer,
        counted("records exported") as tell,
    ):
        catch_up(api, until=query.get("until"))
        for page in pages(api, query):
            rows = msgspec.convert(page, list[Row], strict=False)
            writer.add(rows)
            done += len(rows)
            scores += sum(len(row.scores) for row in rows)
            tell(done, None)
        writer.finish()
    said = {"file": str(file), "records": done, "scores": scores}
    if as_json:
        print_json(said)
    else:
        console().print(f"wrote {many(done, 'record')} with {many(scores, 'score')} to {file}", markup=False)


def import_(
    file: Annotated[Path, typer.Argument(help="A Parquet file that `export` wrote.")],
    *,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Store the records of a Parquet file where they are not there yet; doing it again adds nothing."""
    from airboss.store import record_file  # noqa: PLC0415 - DuckDB, where it is needed

    if not file.is_file():
        raise WrongCall(f"there is no file {file}; name one that `airboss records export` wrote.")
    if file.suffix.lower() == ".csv":
        raise WrongCall(
            f"{file} is a CSV, which is for other programs; export to a .parquet file for import."
        )
    total = record_file.count(file)
    for _ in record_file.read(file):
        pass  # every row is read before the first is stored: a bad file changes nothing
    done = records = scores = 0
    with reach(data_dir, url) as api, counted("records imported") as tell:
        for batch in batches(record_file.read(file)):
            given = {"rows": batch}
            store = partial(api.post, "/api/v1/transfer", given)
            answer = patiently(store) if done else store()
            done += len(batch)
            records += answer["records"]
            scores += answer["scores"]
            tell(done, total)
    said = {"file": str(file), "records": records, "scores": scores}
    if as_json:
        print_json(said)
    else:
        there = f"in the store now: {many(records, 'record')}; new of their scores: {scores:,}"
        console().print(there, markup=False)


def pages(api: Api, query: dict[str, str]) -> Iterator[list[Any]]:
    """The rows of every page. Who does not answer the first is not there; for a later one we wait."""
    page = api.get("/api/v1/transfer", query)
    while True:
        if not page["rows"]:
            return
        yield page["rows"]
        page = patiently(partial(api.get, "/api/v1/transfer", {**query, "before": page["next"]}))


def batches(found: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Rows as JSON values, so many together as fit into a request."""
    batch: list[Any] = []
    size = 0
    for rows in found:
        for row in rows:
            length = len(msgspec.json.encode(row))
            if batch and size + length > BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(msgspec.to_builtins(row))
            size += length
    if batch:
        yield batch
