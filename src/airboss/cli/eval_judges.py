"""`airboss eval judges`: how far judging scorers can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, print_each, print_nothing
from airboss.cli.when import parse_when

NAME_WIDTH = 20


def judges(
    *,
    deployment: Annotated[str | None, typer.Option(help="Only judges of this deployment.")] = None,
    judge: Annotated[str | None, typer.Option(help="Only the judge of this name.")] = None,
    people: Annotated[str | None, typer.Option(help="The name under which people judged.")] = None,
    since: Annotated[str, typer.Option(help="Calls from this time on: 2h, 7d or ISO 8601.")] = "30d",
    until: Annotated[str | None, typer.Option(help="Before this time, written as for --since.")] = None,
    cut: Annotated[float, typer.Option(help="Of numbers from 0 to 1, a yes from here on.")] = 0.5,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Say how far judges can be believed, by what people of the house say of the same answers."""
    now = datetime.now(UTC)
    asked = {"deployment": deployment, "judge": judge, "people": people, "cut": f"{cut:g}"}
    query = {name: value for name, value in asked.items() if value is not None}
    query["since"] = parse_when(since, now=now, option="--since").isoformat()
    if until is not None:
        query["until"] = parse_when(until, now=now, option="--until").isoformat()
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/judges", query)["judges"]
    if not found:
        print_nothing(
            "no judge can be held against people yet: a scorer has to score calls that people judge too, in"
            " the console or with `airboss records score`"
        )
        return
    if as_json:
        print_each(found)
        return
    out = console()
    for number, each in enumerate(found):
        if number:
            out.print()
        for line in told(each):
            out.print(line, markup=False, highlight=False, soft_wrap=True)


def told(found: dict[str, Any]) -> Iterator[str]:
    """One judge, a line a number."""
    by, mean = found["agreement"], found["corrected"]
    yield f"{found['deployment']}: {found['judge']} against {found['people']}, as people judge"
    yield _line("judged by both", f"{by['n']:,}, {found['sampled']:,} of them drawn by chance")
    if found["rescaled"]:
        yield _line("scale", "people's 1 to 5 stands for 0 to 1")
    if found["only_ones"]:
        yield _line(
            "scale", "people's numbers are all 1, taken for a yes; if it is one star, all is the wrong way"
        )
    yield _line("agreement", spread(by["agreement"]))
    yield _line("Cohen's kappa", spread(by["kappa"]))
    if by["yes_no"]:
        yield _line("sensitivity", f"{spread(by['sensitivity'])} of people's yes")
        yield _line("specificity", f"{spread(by['specificity'])} of people's no")
    if mean is None:
        yield _line("corrected mean", f"none: {found['why']}")
        return
    yield _line("the judge's mean", f"{mean['judge_mean']:.3f} over {mean['scored']:,} scored calls")
    yield _line("corrected mean", spread(mean["corrected"]))
    yield _line("people alone", f"{spread(mean['people'])} over {mean['sampled']:,} drawn by chance")


def spread(interval: dict[str, Any] | None) -> str:
    """A number with its interval."""
    if interval is None:
        return "-"
    return f"{interval['estimate']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _line(name: str, value: str) -> str:
    return f"  {name:{NAME_WIDTH}} {value}"
