"""`airboss release`: what answers were made with, and how two differ."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, local_time, print_each, print_json, print_nothing

release = typer.Typer(help="Releases: everything that shapes an answer, by digest.", no_args_is_help=True)

RefArgument = Annotated[str, typer.Argument(help="Name or digest (8 digits or more) of a release.")]


@release.command("list")
def list_releases(
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every release ever published, the newest first, and where it stands."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/releases")["releases"]
    if not found:
        print_nothing("no release yet; `airboss apply FILE` makes one")
        return
    if as_json:
        print_each(found)
        return
    from rich.table import Table  # noqa: PLC0415 - 40 ms that JSON output need not pay

    table = Table("release", "name", "model", "plan", "since", "stands", box=None, pad_edge=False)
    for each in found:
        stands = ", ".join(f"{one['place']} in {one['deployment']}" for one in each["stands"]) or "-"
        table.add_row(
            each["digest"][:12],
            each["name"],
            each["model"],
            str(each["plan"]),
            local_time(each["at"]),
            stands,
        )
    console().print(table)


@release.command("show")
def show_release(
    ref: RefArgument,
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """One release, whole."""
    with reach(data_dir, url) as api:
        found = api.get(place("releases", ref))
    if as_json:
        print_json(found)
        return
    said = found["release"]
    sys.stdout.write(f"release {said['digest']}\nname    {said['name']}\n")
    for name, value in said["model"].items():
        if value is not None:
            sys.stdout.write(f"{name:<15} {value}\n")
    for name in ("form", "params", "params_force", "policy"):
        if said.get(name):
            sys.stdout.write(f"{name:<15} {_text(said[name])}\n")
    _others(said)
    if said.get("prompt"):
        sys.stdout.write(f"prompt:\n{said['prompt']}\n")
    for each in said.get("examples") or ():
        sys.stdout.write(f"example: {_text(each)}\n")
    for each in found["stands"]:
        sys.stdout.write(f"{each['place']} in {each['deployment']}\n")


def _others(said: dict[str, Any]) -> None:
    """Who shares its calls, and who is asked where it fails."""
    shares, others = said.get("shares") or (), said.get("fallbacks") or []
    for each, part in zip([said["model"], *others], shares, strict=False):
        sys.stdout.write(f"{'share':<15} {100 * part:.3g} % {each['provider']}/{each['model']}\n")
    for each in others[max(0, len(shares) - 1) :]:
        too = ", also for what a filter refuses" if said.get("fallbacks_when_filtered") else ""
        sys.stdout.write(f"{'fallback':<15} {each['provider']}/{each['model']}{too}\n")


@release.command("diff")
def diff_releases(
    a: RefArgument,
    b: RefArgument,
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """What tells release B from release A."""
    from airboss.cli.diff import show_changes  # noqa: PLC0415 - beside the verb that shares it

    with reach(data_dir, url) as api:
        found = api.get("/api/v1/releases/diff", {"a": a, "b": b})
    if as_json:
        print_json(found)
        return
    show_changes({"warnings": (), **found})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
