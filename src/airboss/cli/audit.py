"""`airboss audit`: what was done here, and the proof that nobody has changed it since."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airboss.cli.api import Api, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption, has_data
from airboss.cli.output import (
    clipped,
    console,
    escape,
    local_time,
    print_each,
    print_json,
    print_nothing,
    table_of,
)
from airboss.cli.when import parse_when
from airboss.domain.errors import AirbossError, WrongCall
from airboss.store.wording import many

if TYPE_CHECKING:
    from airboss.compose.audit import Found
    from airboss.console.api_audit import Leaves
    from airboss.governance.checkpoint import Checkpoint
    from airboss.store.audit_rows import HeadRow, NamedLeaf

audit = typer.Typer(help="What was done here, and the proof that it was.", no_args_is_help=True)

PAGE = 500
LIMIT_MAX = 100_000
DETAIL_MAX = 120
"""Characters of an entry's detail in a table; --json has all."""
NOTHING = "nothing was done yet that is like this"
CHECKPOINT_BYTES_MAX = 64 * 1024
NEXT = (
    "Next: keep this data directory as it is and find out who could write there; `airboss audit verify "
    "--data-dir COPY` says whether a copy from before is whole, which can then be put back."
)


@audit.command("list")
def list_entries(
    *,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many, newest first.")] = 50,
    action: Annotated[str | None, typer.Option(help="Only this action, such as keys.create.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: 15m, 2h, 7d or ISO 8601.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was done: when, by whom, to what."""
    query = {"action": action} if action is not None else {}
    if since is not None:
        query["since"] = parse_when(since, now=datetime.now(UTC), option="--since").isoformat()
    with reach(data_dir, url) as api:
        if as_json:
            if not print_each(pages(api, query, limit)):
                print_nothing(NOTHING)
            return
        show(list(pages(api, query, limit)))


def pages(api: Api, query: dict[str, str], limit: int) -> Iterator[dict[str, Any]]:
    """At most `limit` entries, newest first."""
    asked = dict(query)
    while limit > 0:
        page = api.get("/api/v1/audit", {**asked, "limit": str(min(limit, PAGE))})
        yield from page["entries"]
        limit -= len(page["entries"])
        if page["next"] is None:
            return
        asked["before"] = str(page["next"])


def show(found: list[dict[str, Any]]) -> None:
    """Entries as a table."""
    if not found:
        print_nothing(NOTHING)
        return
    from airboss.governance.audit_words import fields  # noqa: PLC0415 - which JSON output does without

    table = table_of("leaf", "time", "action", "by", "what", "detail")
    for each in found:
        detail = "; ".join(f"{name}: {text}" for name, text in fields(each["detail"]))
        who = [each["actor"], each["subject"]]
        names = [escape(name) if name is not None else "[dim](erased)[/]" for name in who]
        at = local_time(each["at"])
        table.add_row(
            str(each["number"]), at, escape(each["action"]), *names, escape(clipped(detail, DETAIL_MAX))
        )
    console().print(table)


@audit.command("checkpoint")
def checkpoint(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Print the signed head of the log, as JSON. Keep it elsewhere, for `audit verify --checkpoint`."""
    del as_json  # it is JSON either way
    with reach(data_dir, url) as api:
        print_json(api.get("/api/v1/audit/checkpoint"))


@audit.command("verify")
def verify(
    *,
    checkpoint: Annotated[
        Path | None, typer.Option(help="What `audit checkpoint` once printed: the log must extend it.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the whole log from its data. Exit 0: valid; 1: it was tampered with; 2: called wrongly."""
    from msgspec.structs import replace  # noqa: PLC0415 - with the check

    from airboss.governance.audit_verify import verify as check  # noqa: PLC0415 - cryptography, only here

    kept = read_checkpoint(checkpoint) if checkpoint is not None else None
    with found(data_dir, url) as log:
        verdict = check(
            log.data,
            public_key=log.public_key,
            checkpoint=kept,
            own=log.kept,
            own_gone=log.kept_gone,
            begun=log.begun,
            ledger=log.rows,
        )
        if verdict.valid and (trouble := log.admits()) is not None:
            verdict = replace(verdict, valid=False, problem=trouble)
    if as_json:
        import msgspec  # noqa: PLC0415 - with the check

        print_json(msgspec.to_builtins(verdict))
    elif verdict.valid:
        erased = (
            f", {verdict.erased} erased name{'' if verdict.erased == 1 else 's'} aside"
            if verdict.erased
            else ""
        )
        said = "its one leaf fits" if verdict.checked == 1 else f"all {verdict.checked} leaves fit"
        extends = f"; it extends the checkpoint of {many(verdict.extends, 'leaf')}" if verdict.extends else ""
        sys.stdout.write(f"valid: {said}{erased}{extends}\n")
        for leaf in verdict.resumed:
            unsure = unshown(verdict.extends)
            sys.stdout.write(f"but leaf {leaf} tells that secrets/audit_head was gone: {unsure}\n")
    else:
        sys.stdout.write(f"TAMPERED: {verdict.problem}\n{NEXT}\n")
    if not verdict.valid:
        raise typer.Exit(1)


def unshown(extends: int | None) -> str:
    """What nobody can say of a log that was once without the checkpoint beside its key, though it extends one
    of before then that had so many leaves; None: none was given."""
    if extends is None:
        return "whether all of before is here, only a checkpoint kept elsewhere shows (--checkpoint)"
    return (
        f"what your checkpoint has of before, {many(extends, 'leaf')}, is here; whether all that came between"
        " is, only a later checkpoint shows"
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises WrongCall if there is none."""
    import msgspec  # noqa: PLC0415 - with the check

    from airboss.governance.checkpoint import Checkpoint  # noqa: PLC0415 - cryptography, only here

    try:
        with path.open("rb") as file:
            text = file.read(CHECKPOINT_BYTES_MAX)
        return msgspec.json.decode(text, type=Checkpoint)
    except OSError as error:
        raise WrongCall(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise WrongCall(f"{path} is not what `airboss audit checkpoint` prints: {error}") from None


@contextmanager
def found(data_dir: Path, url: str | None) -> Iterator[Found]:
    """The log to check: from the data itself, or, with --url, leaf by leaf from the other machine."""
    from airboss.compose.audit import Found, found_audit  # noqa: PLC0415 - loads the ledger

    if url is None:
        if not has_data(data_dir):
            raise WrongCall(f"there is no Airboss data in {data_dir.absolute()}; name it with --data-dir.")
        with found_audit(data_dir) as local:
            yield local
        return
    from airboss.console.api_audit import key_of  # noqa: PLC0415 - only for --url

    with reach(data_dir, url) as api:
        log = RemoteLog(api)
        yield Found(data=log, public_key=key_of(log), begun=True, admits=log.admits)


class RemoteLog:
    """`store.audit_rows.AuditData` through the admin API: as large as it was when the reading began."""

    gone: Sequence[str] = ()

    def __init__(self, api: Api) -> None:
        self._api = api
        first = self._answer(-1, 1)
        self.head: HeadRow | None = first.head
        self.heads = first.heads
        self.strays: Sequence[int] = first.strays

    def leaves(self) -> Iterator[NamedLeaf]:
        """As `AuditData.leaves`; what was added since the beginning is left out."""
        size = self.head.size if self.head is not None else 0
        after = -1
        while found := [each for each in self.page(after, PAGE) if each.leaf.number < size]:
            yield from found
            after = found[-1].leaf.number

    def page(self, after: int, limit: int) -> Sequence[NamedLeaf]:
        """As `AuditData.page`."""
        return self._answer(after, limit).leaves

    def admits(self) -> str | None:
        """What the other machine finds itself, which has the rows that the log tells of and the checkpoint
        beside its key. That it finds nothing proves nothing."""
        found: str | None = self._api.get("/api/v1/report", {"range": "15m"})["audit"]["problem"]
        return found

    def _answer(self, after: int, limit: int) -> Leaves:
        import msgspec  # noqa: PLC0415 - with the check

        from airboss.console.api_audit import Leaves  # noqa: PLC0415 - only for --url

        asked = {"limit": str(limit)} | ({"after": str(after)} if after >= 0 else {})
        try:
            answer: Leaves = msgspec.convert(self._api.get("/api/v1/audit/leaves", asked), Leaves)
        except msgspec.ValidationError as error:
            raise AirbossError(
                f"the log that was sent holds what none does ({error}): `airboss audit verify` beside its "
                "data says where"
            ) from error
        return answer
