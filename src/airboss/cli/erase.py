"""`airboss erase`: forget a person."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from airboss.cli.api import Api, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import print_json
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

WAIT_S = 60.0
LOOK_S = 0.2


def erase(
    *,
    user: Annotated[str, typer.Option(help="The person, as calls sent it in `user`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a person: bodies, comments, dataset items, caches and names go; anonymous costs stay."""
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise WrongCall("this cannot be undone; say so with --yes.")
        typer.confirm(f"Forget {user!r} for good?", abort=True, err=True)
    with reach(data_dir, url) as api:
        deadline = time.monotonic() + WAIT_S
        done = wait(api, api.post("/api/v1/erasures", {"user": user}), deadline)
        held_up = done["state"] == "pending" and done["store_up"]
        nodes = api.get("/api/v1/nodes")["nodes"] if held_up and api.running else []
    if as_json:
        print_json(done)
    else:
        time_of = datetime.fromisoformat
        show(user, done, [each["name"] for each in nodes if time_of(each["clear_at"]) <= time_of(done["at"])])


def wait(api: Api, asked: dict[str, Any], deadline: float) -> dict[str, Any]:
    """The erasure once it is done; as it is, if the store is down or at the deadline."""
    found = asked
    while found["state"] == "pending" and found["store_up"] and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        found = api.get(f"/api/v1/erasures/{asked['id']}")
    return found


def show(user: str, found: dict[str, Any], awaited: list[str]) -> None:
    """What became of it, in words; `awaited` are machines that may still hold something of the person."""
    if found["found"] is False:
        sys.stdout.write(
            f"nothing of {user!r} was found: no record, score, item of a dataset or name in the audit log. "
            "Give the user exactly as calls sent it; `airboss records --by user --since 90d` lists them "
            f"(erasure {found['id']})\n"
        )
        return
    what = ", ".join(
        many(found[name], words)
        for name, words in (
            ("records", "record"),
            ("scores", "score"),
            ("items", "item of datasets"),
            ("names", "name in the audit log"),
        )
    )
    if found["state"] == "done":
        sys.stdout.write(f"forgotten: {what} (erasure {found['id']})\n")
        return
    why = "it takes longer" if found["store_up"] else "the record store is down"
    if awaited:
        why = f"it waits for {', '.join(awaited)}, which `airboss node list` shows"
    sys.stdout.write(f"pending: {why}; it goes on by itself, also after a restart (erasure {found['id']})\n")
