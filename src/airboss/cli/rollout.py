"""`airboss rollout`: a release in place of another, step by step."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, dash, local_time, print_each, print_json, print_nothing
from airboss.cli.when import parse_until
from airboss.store.wording import many

rollout = typer.Typer(help="Rollouts: a candidate gets traffic by steps, on evidence.", no_args_is_help=True)

DeploymentArgument = Annotated[str, typer.Argument(help="The deployment.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the verdict.")]


def who() -> str:
    """The user who asks, by name; in a container there may be none for the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # up to Python 3.12 it is a KeyError
        return f"user {os.getuid()}"


@rollout.command("start")
def start_rollout(
    deployment: DeploymentArgument,
    *,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", help="Name or digest of the release; the deployment's candidate unless given."
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="When, as in 2027-01-15T06:00Z or 12h; now unless given.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit log keeps it.")] = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin: the gate first where there is one, then the first step."""
    asked = {"deployment": deployment, "release": release, "reason": reason, "by": who()}
    if at is not None:
        asked["at"] = parse_until(at, now=datetime.now(UTC), option="--at").isoformat()
    with reach(data_dir, url) as api:
        found = api.post("/api/v1/rollouts", asked)
    _show(found, as_json=as_json)


@rollout.command("status")
def rollout_status(
    deployment: Annotated[str | None, typer.Argument(help="Only of this deployment.")] = None,
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """The newest rollout of each deployment with its numbers; with a name, every rollout of that one."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/rollouts", {"deployment": deployment} if deployment else None)["rollouts"]
        served = [] if as_json else api.get("/api/v1/deployments")["deployments"]
    if deployment is None:
        newest: dict[str, Any] = {}
        for each in found:
            newest.setdefault(each["deployment"], each)
        found = list(newest.values())
    if not found:
        print_nothing("no rollout yet; `airboss rollout start DEPLOYMENT` begins one")
        return
    if as_json:
        print_each(found)
        return
    stable = {each["name"]: each["stable"] for each in served}
    for each in found:
        _show(each, as_json=False)
        now = stable.pop(each["deployment"], each["release"])  # of the newest one alone
        if each["state"] == "promoted" and now != each["release"]:
            sys.stdout.write(f"  it is not stable any more: {now[:12]} is\n")


def _order(action: str) -> Any:
    def verb(
        deployment: DeploymentArgument,
        *,
        reason: ReasonOption = "",
        data_dir: DataDirOption = DEFAULT_DATA_DIR,
        url: UrlOption = None,
        as_json: JsonOption = False,
    ) -> None:
        _ordered(action, deployment, reason, data_dir, url, as_json=as_json)

    return verb


def _ordered(
    action: str, deployment: str, reason: str, data_dir: Path, url: str | None, *, as_json: bool
) -> None:
    with reach(data_dir, url) as api:
        found = api.post(
            "/api/v1/rollouts/order",
            {"deployment": deployment, "action": action, "reason": reason, "by": who()},
        )
    _show(found, as_json=as_json)


rollout.command("pause", help="Keep the weight; harm still aborts.")(_order("pause"))
rollout.command("resume", help="Go on after a pause.")(_order("resume"))
rollout.command("promote", help="Serve the candidate to all now.")(_order("promote"))
rollout.command("abort", help="Send everybody back to stable now.")(_order("abort"))


@rollout.command("undo")
def undo_promotion(
    deployment: DeploymentArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; the audit log keeps it.")] = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the newest promotion back: what was stable before serves everybody now."""
    with reach(data_dir, url) as api:
        found = api.post("/api/v1/rollouts/undo", {"deployment": deployment, "reason": reason, "by": who()})
    if as_json:
        print_json(found)
        return
    sys.stdout.write(
        f"{found['deployment']}: {found['name']} {found['stable'][:12]} serves everybody again, in place of "
        f"{found['undone_name']} {found['undone'][:12]}\n"
        "The configuration in force says so; `airboss export > airboss.toml` brings it into your file.\n"
    )


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    steps = " ".join(
        f"[{step * 100:g}%]"
        if number == found["step"] and found["state"] in ("running", "paused")
        else f"{step * 100:g}%"
        for number, step in enumerate(found["steps"])
    )
    sys.stdout.write(
        f"{found['deployment']}: {found['state']}  {found['name']} {found['release'][:12]} against "
        f"{found['baseline'][:12]}  steps {steps}  ({found['id']}, by {found['by']})\n"
    )
    if found["state"] == "scheduled":
        sys.stdout.write(f"  begins at {local_time(found['starts_at'])}\n")
    for each in found.get("apart", ()):  # which one before this version does not tell
        share = f", {100 * each['errors'] / each['counted']:.3g}% errors" if each["counted"] else ""
        calls = many(each["requests"], "call")
        sys.stdout.write(f"  {each['arm']}, by name: {calls}{share}; no evidence\n")
    verdict = found["verdict"]
    if verdict is None:
        return
    sys.stdout.write(f"  {verdict['conclusion']}: {verdict['reason']}\n")
    if not verdict["metrics"]:
        return
    from rich.table import Table  # noqa: PLC0415 - 40 ms that JSON output need not pay

    table = Table(
        "  metric", "finding", "stable", "n", "canary", "n", "effect", "interval", box=None, pad_edge=False
    )
    for each in verdict["metrics"]:
        table.add_row(
            f"  {each['metric']}",
            each["finding"].replace("_", "-"),
            _number(each["stable_mean"]),
            str(each["stable_n"]),
            _number(each["canary_mean"]),
            str(each["canary_n"]),
            _number(each["effect"]),
            f"{_number(each['low'])} to {_number(each['high'])}",
        )
    console().print(table)
    for each in verdict["metrics"]:
        if each.get("beyond"):  # which one before this version does not tell
            sys.stdout.write(
                f"  {each['metric']}: {many(each['beyond'], 'value')} not between 0 and 1; scale them, for "
                "they speak against promotion\n"
            )


def _number(value: float | None) -> str:
    return dash(None) if value is None else f"{value:.4g}"
