"""`airboss monitor`: alarms, where they stand and who was told; silences and tests."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import (
    amount,
    console,
    dash,
    escape,
    local_time,
    print_json,
    print_list,
    print_nothing,
    table_of,
)
from airboss.domain.errors import WrongCall
from airboss.evaluations.drift_words import WORDS
from airboss.store.wording import many

monitor = typer.Typer(help="Alarms: where they stand, who was told.", no_args_is_help=True)

COLOURS = {"ok": "green", "resolved": "green", "pending": "yellow", "no_data": "yellow", "firing": "red"}

URGENT = {"firing": 0, "pending": 1}
"""States that somebody has to look at, the worst first."""


@monitor.command("list")
def list_alarms(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List alarms and where they stand; exit 1 if one is firing."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/alarms")["alarms"]
    none = "there are no alarms; write [alarms.NAME] into airboss.toml and apply it"
    print_list(found, show_table, none=none, as_json=as_json)
    if any(each["state"] == "firing" for each in found):
        raise typer.Exit(1)


@monitor.command("show")
def show_alarm(
    name: Annotated[str, typer.Argument(help="The alarm.")],
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alarm with what it went through and who was told; exit 1 if it is firing."""
    with reach(data_dir, url) as api:
        found = api.get(place("alarms", name))
    (print_json if as_json else show_page)(found)
    if found["alarm"]["state"] == "firing":
        raise typer.Exit(1)


@monitor.command("silence")
def silence_alarm(
    name: Annotated[str, typer.Argument(help="The alarm.")],
    *,
    length: Annotated[str | None, typer.Option("--for", help="For how long: 30m, 2h, up to 30d.")] = None,
    reason: Annotated[str, typer.Option(help="Why; whoever looks sees it.")] = "",
    off: Annotated[bool, typer.Option("--off", help="End the silence.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell nobody of an alarm for a while. What still holds when the silence ends is told then."""
    if off == (length is not None):
        raise WrongCall("say for how long, as in --for 2h, or end the silence with --off.")
    if not off and not reason.strip():
        raise WrongCall('say why, as in --reason "maintenance"; whoever looks at the alarm sees it.')
    with reach(data_dir, url) as api:
        found = api.post(place("alarms", name, "/silence"), {"for": length or "", "reason": reason})
    if as_json:
        print_json(found)
    elif found["silence"] is None:
        console().print(f"{name} is not silenced any more")
    else:
        console().print(f"{name} is silenced until {local_time(found['silence']['until'])}")


@monitor.command("test")
def try_notifiers(
    name: Annotated[str, typer.Argument(help="The alarm.")],
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test to all whom an alarm notifies; exit 1 if one did not get it."""
    with reach(data_dir, url) as api:
        if not api.running:
            raise WrongCall("a test needs a running Airboss; start it with `airboss up`.")
        found = api.post(place("alarms", name, "/test"), {})["notifications"]
    if not found:
        print_nothing(f"alarm {name!r} notifies nobody; name whom as `notify` under [alarms.{name}]")
    for each in found:
        if as_json:
            print_json(each)
        else:
            console().print(f"{each['notifier']}: {each['state']}{because(each)}", markup=False)
    if any(each["state"] != "sent" for each in found):
        raise typer.Exit(1)


@monitor.command("drift")
def show_drift(
    deployment: Annotated[str | None, typer.Argument(help="Only this deployment.")] = None,
    *,
    accept: Annotated[bool, typer.Option("--accept", help="What is now is usual: learn anew.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what drifted, since when, with examples; exit 1 if anything did."""
    if accept and deployment is None:
        raise WrongCall("say whose drift to accept, as in `airboss monitor drift support --accept`.")
    with reach(data_dir, url) as api:
        if accept:
            found = [api.post(place("drift", deployment or "", "/accept"), {})]
        else:
            found = api.get("/api/v1/drift")["deployments"]
    if deployment is not None and not accept:
        known = [each["deployment"] for each in found]
        found = [each for each in found if each["deployment"] == deployment]
        if not found:
            from airboss.config.wording import nearest  # noqa: PLC0415 - for one who finds nothing

            raise WrongCall(f"there is no deployment {deployment!r}; {nearest(deployment, known)}")
    if not found:
        print_nothing("no deployment is served, so that nothing can drift; `airboss apply FILE` serves one")
    for each in found:
        (print_json if as_json else show_drift_of)(each)
    if any(each["state"] == "drifted" for each in found):
        raise typer.Exit(1)


def show_drift_of(each: dict[str, Any]) -> None:
    """One deployment's drift, for people."""
    out = console()
    words = {"learning": f"learning, {each['n']} of {many(each['needed'], 'call')}", "off": "not watched"}
    out.print(f"{each['deployment']}: {words.get(each['state'], each['state'])}", markup=False)
    for found in each["found"]:
        now = 100 * found["after"] / found["n_after"] if found["n_after"] else 0.0
        before = 100 * found["before"] / found["n_before"]
        out.print(
            f"  {WORDS.get(found['feature'], found['feature'])}: {found['bin']} "
            f"since {local_time(found['since'])}: "
            f"{now:.1f} % of {many(found['n_after'], 'call')}, {before:.1f} % before",
            markup=False,
        )
        for name in ("before", "after"):
            out.print(f"    {name}: {' '.join(found[f'examples_{name}'])}", markup=False)
    checks = each["checks"]
    if checks["state"] == "drifted":
        since = f" since {local_time(checks['since'])}" if checks["since"] else ""
        out.print(f"  answers to fixed prompts changed{since}:", markup=False)
        for changed in checks["changed"]:
            out.print(f"    {changed['prompt'][:80]}", markup=False)
            for name, called in (("before", "before"), ("after", "now")):
                out.print(f"      {called}: {' '.join(changed[name].split())[:200]}", markup=False)


def show_table(found: list[dict[str, Any]]) -> None:
    """Alarms as a table."""
    table = table_of()
    table.add_column("alarm", overflow="fold", min_width=22)  # whole: it is asked for by it
    for name in ("state", "since", "value", "bound", "silenced until"):
        table.add_column(name)
    for each in sorted(found, key=lambda each: URGENT.get(each["state"], len(URGENT))):
        silence = each["silence"]
        table.add_row(
            escape(each["name"]),
            coloured(each["state"]),
            dash(each["since"] and local_time(each["since"])),
            escape(amount(each, each["value"]) if each["value"] is not None else dash(each["why"])),
            escape(bound(each)),
            dash(silence and local_time(silence["until"])),
        )
    console().print(table)


def show_page(found: dict[str, Any]) -> None:
    """One alarm with its events and notifications."""
    out, each = console(), found["alarm"]
    since = f" since {local_time(each['since'])}" if each["since"] else ""
    out.print(f"[bold]{escape(each['name'])}[/] {coloured(each['state'])}{since}")
    why = f" ({each['why']})" if each["why"] else ""
    out.print(escape(f"{bound(each)}; now {amount(each, each['value'])}{why}"))
    if each["detail"]:
        out.print(each["detail"], markup=False)
    if each.get("evaluation"):
        out.print(f"airboss eval show {each['evaluation']}", markup=False)
    for record in each["records"]:
        out.print(f"airboss records --id {record}", markup=False)
    if each["silence"] is not None:
        silence = each["silence"]
        out.print(
            escape(f"silenced until {local_time(silence['until'])} by {silence['by']}: {silence['reason']}")
        )
    for event in found["events"]:
        value = amount(each, event["value"])
        line = f"{local_time(event['at'])}  {event['before']} → {event['after']}  {value}"
        out.print(line, markup=False)
    if found["notifications"]:
        out.print("\ntold")
    for note in found["notifications"]:
        said = f"{note['notifier']}  {note['kind']}  {note['state']}{because(note)}"
        out.print(f"{local_time(note['created_at'])}  {said}", markup=False)


def bound(alarm: dict[str, Any]) -> str:
    """What an alarm is for, in one line."""
    from airboss.store.alert_metrics import chosen_by, of_least  # noqa: PLC0415 - msgspec, which JSON does without

    than = ""
    if alarm["threshold"] is not None:
        than = f" {alarm['comparison']} {amount(alarm, alarm['threshold'])}"
    over = f" over {alarm['window']} for {alarm['for']}" if alarm["kind"] in ("threshold", "change") else ""
    kind = "" if alarm["kind"] == "threshold" else f" ({alarm['kind'].replace('_', ' ')})"
    whose = alarm["deployment"] or alarm["key"] or alarm.get("team") or alarm.get("tag") or "Airboss"
    whose += chosen_by(alarm.get("where") or {})
    least = of_least(alarm["metric"], alarm.get("min_requests", 1))
    return f"{alarm['metric']} of {whose}{than}{over}{kind}{least}"


def because(note: dict[str, Any]) -> str:
    """What the last try said, if it failed."""
    return f" ({note['error']})" if note["error"] else ""


def coloured(state: str | None) -> str:
    """A state with its colour."""
    return f"[{COLOURS[state]}]{state}[/]" if state is not None else "-"
