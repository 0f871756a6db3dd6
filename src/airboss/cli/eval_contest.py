"""Several releases against one baseline: their evaluations begun and waited for together, and one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from airboss.cli.api import Api, place, reach
from airboss.cli.eval_report import difference, number, p_value, release
from airboss.cli.follow_job import begun, ended, left, outlasting, say_id, tell
from airboss.cli.output import clipped, console, dash, escape, milliseconds, table_of, usd
from airboss.domain.errors import AirbossError
from airboss.evaluations.few import counted
from airboss.store.wording import level, many

PREFIX: Final = "contest-"
"""What the ids of contests begin with."""

WHY_CHARS: Final = 60
"""Of an evaluation's error in the table; it is told whole by the evaluation."""

STANDINGS: Final[Mapping[str | None, str]] = {
    "better": "[green]surely better[/]",
    "open": "not told apart",
    "worse": "[red]surely worse[/]",
    None: "no verdict",
}
"""How a release stands to the baseline, in words."""


def contested(
    order: Mapping[str, Any], *, detach: bool, data_dir: Path, url: str | None, as_json: bool
) -> None:
    """Order them, wait until all are done, and show the table. Exits with 1 unless every release passes the
    gates, where there are any. Raises AirbossError, once it is shown, where one failed."""
    with reach(data_dir, url) as api:
        contest = begun(api, "evals", order)["spec"]["contest"]["id"]
        if detach:
            say_id(contest, as_json=as_json)
            return
        found = waited(api, contest, as_json=as_json)
    tell(found, show_contest, as_json=as_json)
    broken = [each for each in found["releases"] if each["state"] != "done"]
    if broken:
        why = "; ".join(f"{each['eval']} {each['state']}: {dash(each['error'])}" for each in broken)
        raise AirbossError(
            f"{len(broken)} of {many(len(found['releases']), 'evaluation')} came to nothing: {why}"
        )
    if any(each["conclusion"] not in (None, "pass") for each in found["releases"]):
        raise typer.Exit(1)


def contest_shown(
    contest: str, *, wait: bool, data_dir: Path, url: str | None, as_json: bool
) -> dict[str, Any]:
    """The table of a contest, by its id or an evaluation's; with `wait`, once all are done."""
    with reach(data_dir, url) as api:
        return waited(api, contest, as_json=as_json) if wait and api.running else table(api, contest)


def waited(api: Api, contest: str, *, as_json: bool) -> dict[str, Any]:
    """The table once every evaluation of it has ended. A controller that is started again meanwhile is waited
    for; Ctrl-C as in `left`."""
    with left(contest, "eval show"):
        found = outlasting(lambda: table(api, contest))
        for each in sorted(found["releases"], key=lambda one: str(one["eval"])):
            label = f"{found['dataset']} on {release(each['release'])}"
            ended(api, each["eval"], as_json=as_json, label=label)
        return outlasting(lambda: table(api, contest))


def table(api: Api, contest: str) -> dict[str, Any]:
    """A contest as it stands."""
    found: dict[str, Any] = api.get(place("evals", contest, "/contest"))
    return found


def show_contest(found: dict[str, Any]) -> None:
    """Releases by scorers, the best release first, the baseline above them."""
    out = console()
    out.print(
        f"[bold]{found['id']}[/], {escape(found['dataset'])} {found['part']}: "
        f"{many(len(found['releases']), 'release')} against {escape(release(found['baseline']))}"
    )
    sure = f"{level(1 - found['confidence'])}%"
    gated = any(each["conclusion"] for each in found["releases"])
    numbers = ("n", "mean", f"B - A ({sure})", "p")
    made = table_of(
        "release", "scorer", *numbers, "verdict", "USD each", "ms each", *(["gates"] if gated else [])
    )
    for column in made.columns:
        if column.header in (*numbers, "USD each", "ms each"):
            column.justify = "right"
    took = spent(found["took"])
    first = f"A {escape(release(found['baseline']))}"
    for scorer, mean in found["means"].items() or [("", None)]:
        of_a = "" if mean is None else f"{mean:.4g}"
        made.add_row(first, escape(scorer), "", of_a, "", "", "", *took)
        first, took = "", ("", "")
    for each in found["releases"]:
        took = spent(each["took"])
        name, gates = escape(release(each["release"])), each["conclusion"] or ""
        for cell in each["cells"] or [None]:
            shown = cells(cell, found["not_judged"]) if cell else state(each)
            made.add_row(name, *shown, *took, *([gates] if gated else []))
            name, gates, took = "", "", ("", "")
    out.print(made)
    out.print(
        f"alpha {found['alpha']:g} over all of them; best first by {escape(found['scorers'][0])}; "
        f"each in full: airboss eval show {found['releases'][0]['eval']}"
    )
    if found["not_judged"]:
        names = escape(", ".join(found["not_judged"]))
        out.print(f"by {names} nobody is judged: the releases answered at different times")


def cells(cell: dict[str, Any], not_judged: Collection[str]) -> tuple[str, ...]:
    """One scorer's numbers of a release."""
    return (
        escape(cell["scorer"]),
        counted(cell["units"], cell["scored"]),
        number(cell["mean"]),
        difference(cell["difference"]),
        p_value(cell),
        ("not judged" if cell["scorer"] in not_judged else STANDINGS[cell["standing"]])
        + (f", {cell['unscored']} unscored" if cell["unscored"] else ""),
    )


def state(each: dict[str, Any]) -> tuple[str, ...]:
    """How far the evaluation of a release is that is not done."""
    steps = f" {each['done']}/{each['total']}" if each["state"] == "running" else ""
    why = f": {clipped(' '.join(each['error'].split()), WHY_CHARS)}" if each["error"] else ""
    return *[""] * 5, escape(each["state"] + steps + why)


def spent(took: dict[str, Any] | None) -> tuple[str, str]:
    """What an answer cost, and how long it took."""
    if took is None:
        return "-", "-"
    return usd(took["usd_per_answer"]), milliseconds(took["ms_per_answer"])
