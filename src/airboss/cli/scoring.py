"""`airboss scoring`: scorers over calls that were recorded."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.cli.eval_report import number, scored_alone, too_few
from airboss.cli.follow_job import DetachOption, WaitOption, listed, ordered, shown, tell
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.output import console, escape, local_time, table_of
from airboss.cli.records_filters import (
    ArmOption,
    DeploymentOption,
    KeyOption,
    ModelOption,
    PolicyOption,
    ReleaseOption,
    ScoreOption,
    SessionOption,
    SinceOption,
    SlowerOption,
    TagOption,
    TeamOption,
    UntilOption,
    UserOption,
    filters,
    in_ms,
)
from airboss.cli.scorers import scorer_of
from airboss.evaluations.few import SCORED_UNIT
from airboss.store.wording import many

scoring = typer.Typer(help="Scorers over calls that were recorded.", no_args_is_help=True)


@scoring.command("run")
def run(
    *,
    scorer: Annotated[list[str], typer.Option(help="As KIND, KIND:ARGUMENT or a JSON table; repeatable.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many calls, 2,000 or fewer.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw; the same seed, the same calls.")] = 0,
    deployment: DeploymentOption = None,
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
    slower_ms: SlowerOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Score answered calls that match the filters, drawn by chance; the scores stand in their records.

    A call that has a scorer's score keeps it and is not judged again. It runs in the controller: neither
    Ctrl-C nor a crash ends it.
    """
    order: dict[str, Any] = {
        "scorers": [scorer_of(each, data_dir if url is None else None) for each in scorer],
        "limit": limit,
        "seed": seed,
        "filters": filters(
            status=None,
            deployment=deployment,
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
            slower_ms=in_ms(slower_ms),
        ),
    }
    found = ordered("scorings", order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_scoring, as_json=as_json)


@scoring.command("list")
def list_scorings(
    *,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List what was scored so, newest first."""
    listed("scorings", limit, data_dir=data_dir, url=url, as_json=as_json, show=show_scorings)


@scoring.command("show")
def show(
    scoring_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `scoring list` names it.")],
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show what the scorers say."""
    found = shown("scorings", scoring_id, wait=wait, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_scoring, as_json=as_json)


def show_scorings(found: list[dict[str, Any]]) -> None:
    """Those there are, one a line."""
    table = table_of("id", "state", "calls", "scorers", "created", "by")
    for each in found:
        means = each["means"]
        said = (f"{name} {means[name]:.4g}" if name in means else name for name in each["scorers"])
        table.add_row(
            each["id"],
            each["state"],
            f"{each['done']}/{each['calls']}",
            escape(", ".join(said)),
            local_time(each["created_at"]),
            escape(each["by"]),
        )
    console().print(table)


def show_scoring(found: dict[str, Any]) -> None:
    """One of them: where it stands, and what the scorers say if it is done."""
    out = console()
    summary, report = found["summary"], found["report"]
    out.print(f"[bold]{summary['id']}[/] {summary['state']}, {many(summary['calls'], 'call')}")
    for cause, count in summary["left_out"].items():
        out.print(escape(f"left out: {count} {cause}"))
    if report is None:
        note = f"; {summary['note']}" if summary["note"] else ""
        out.print(escape(f"{summary['done']} of {many(summary['calls'], 'call')}{note}"))
        if summary["error"]:
            out.print(f"[red]{escape(summary['error'])}[/]")
        return
    out.print()
    table = table_of("scorer", "scored", "mean", "95%", "unscored")
    for each in report["comparisons"]:
        labels = ", ".join(f"{label} {count}" for label, (_, count) in each["labels"].items())
        table.add_row(
            escape(each["metric"]["name"]),
            str(each["items"] - each["unscored_b"]),
            escape(labels) or number(each["mean_b"]),
            "" if labels else scored_alone(each["mean_b"]),
            str(each["unscored_b"]),
        )
    out.print(table)
    few = too_few(report["comparisons"], what="call", unit=SCORED_UNIT, alone=True)
    for line in [*few, *causes(report)]:
        out.print(escape(line))
    if any(each["unscored_b"] for each in report["comparisons"]):
        out.print("run it again: scores that are there are kept, and only the rest is tried")
    if report["kept"]:
        out.print(f"{many(report['kept'], 'score')} had been there before")
    if report["gone"]:
        out.print(f"{many(report['gone'], 'call')} no longer kept")
    first = next((each["metric"]["name"] for each in report["comparisons"] if each["mean_b"]), None)
    if first is not None:
        out.print(escape(f"see them: airboss records --score '{first}<…'"))


def causes(report: dict[str, Any]) -> list[str]:
    """Why calls have no score."""
    return [
        f"{each['metric']['name']}: {count} x {cause}"
        for each in report["comparisons"]
        for cause, count in each["causes"].items()
    ]
