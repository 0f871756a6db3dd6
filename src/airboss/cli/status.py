"""`airboss status`: what runs and what is served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from airboss import __version__
from airboss.cli.api import reach, unanswered
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import amount, console, dash, escape, print_json, size, table_of
from airboss.store.wording import OUT_TITLES, many, out_words

OWN_WORDS = {
    "burn_rate": "the error budget of {deployment} is used up {value} times as fast as it may be",
    "drift": "{value} thing{s} about {deployment} drifted",
    "eval": "the evaluation of {deployment} scored {value}",
    "probe": "the probe of {deployment} found {value} difference{s}",
}
"""What alarms say, by kind, whose value is not that of their metric: as their notifications do."""

SHARES = ("latency_", "ttft_", "cost")
"""What of these a `sequential` alarm measures is no time and no money, but a share of calls."""
ALARMS_TOLD = 8
"""So many that are well are told one by one."""


def status(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Show what is served and how its processes stand; exit 1 if it is stopped or not all is well."""
    found = left_alone(data_dir) if url is None else None
    if found is not None:
        (print_json if as_json else show_left_alone)(found)
        raise typer.Exit(1)
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/status")
    (print_json if as_json else show)(found)
    if not well(found):
        raise typer.Exit(1)


def left_alone(data_dir: Path) -> dict[str, Any] | None:
    """What an Airboss says of itself whose console is away, in the files of its run; None of any other. Who
    asks what is wrong is told that, and does not wait until it is not."""
    up = unanswered(data_dir)
    if up is None:
        return None
    import msgspec  # noqa: PLC0415 - what only this needs, and so the rest

    from airboss.controller.status import with_silence  # noqa: PLC0415 - as above
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - as above
    from airboss.supervisor.runfiles import read_processes  # noqa: PLC0415 - as above
    from airboss.telemetry.metrics import read_counts  # noqa: PLC0415 - as above

    data = DataDir(data_dir)
    counts = read_counts(data.metrics_dir, but="controller")
    processes = with_silence(read_processes(data.run_dir), counts, datetime.now(UTC))
    found: dict[str, Any] = msgspec.to_builtins(
        {
            "version": __version__,
            "running": True,
            "console_away": True,
            "started_at": up.started_at,
            "data_dir": str(data.path.absolute()),
            "base_url": up.base_url,
            "console_url": up.console_url,
            "processes": processes,
        }
    )
    return found


def show_left_alone(found: dict[str, Any]) -> None:
    """The same in words."""
    out = console()
    up = f"up {age(found['started_at'])}"
    out.print(f"[bold]airboss {found['version']}[/] {up}, data in {escape(found['data_dir'])}")
    out.print(f"serves {found['base_url']}")
    away = f"nobody answers at {found['console_url']}, and no more is known"
    out.print(f"[red]the console is away[/]: {away}")
    show_processes(found["processes"])


TROUBLES = ("unrecordable", "counters_away", "kept_plans", "audit_trouble", "ledger_trouble")
"""Members of a status that are empty or null where all is well."""


def well(found: dict[str, Any]) -> bool:
    """Whether it runs, everything that it should serve is ready, no place of a model is out, though others
    answer, and no alarm is firing."""
    things = [*found["deployments"], *found["processes"]]
    return bool(
        found["running"]
        and found["journal"]["store_up"]
        and not any(map(found.get, TROUBLES))
        and not found.get("retention", {}).get("disk_full")
        and all(t["state"] == "ready" for t in things)
        and not are_out(found)
        and not any(each["state"] == "firing" for each in found.get("alarms", ()))
    )


def show(found: dict[str, Any]) -> None:
    """The status as tables."""
    out = console()
    state = f"up {age(found['started_at'])}" if found["running"] else "stopped"
    plan = (
        f"plan {found['plan_number']}, {age(found['plan_created_at'])} old"
        if found["plan_number"]
        else "no plan"
    )
    out.print(f"[bold]airboss {found['version']}[/] {state}, {plan}, data in {escape(found['data_dir'])}")
    if found["running"]:
        # Roles that were started one by one do not know of each other.
        serves = f"serves {found['base_url']}\n" if found["base_url"] else ""
        out.print(f"{serves}console {found['console_url']}")
    for each in (*unserved(found), *map(out_line, are_out(found)), *map(alarm, fires(found))):
        out.print(each)
    deployments = table_of("deployment", "aliases", "provider", "model", "release", "state")
    for each in found["deployments"]:
        shown = [
            each["name"],
            ", ".join(each["aliases"]) or "-",
            each["provider"],
            each["model"],
            each["release"][:12] + beside(each),
        ]
        deployments.add_row(*map(escape, shown), coloured(each["state"], each["detail"]))
    out.print()
    out.print(deployments)
    show_processes(found["processes"])
    out.print()
    out.print(journal(found["journal"]))
    for line in (
        *troubles(found),
        *put_away(found["journal"]),
        *made_room(found["retention"]),
        kept(found["retention"]),
        waiting(found["erasures_pending"]),
    ):
        if line is not None:
            out.print(line)
    for each in found.get("breakers", ()):
        if not each.get("out_since"):
            out.print(breaker(each))
    firing = fires(found)
    for line in alarms([each for each in found.get("alarms", ()) if each not in firing]):
        out.print(line)


def show_processes(found: Sequence[dict[str, Any]]) -> None:
    """The processes that are watched, as a table, where there are any."""
    processes = table_of("process", "state", "since", "pid", "restarts", "memory")
    for each in found:
        memory = size(each["rss_bytes"]) if each.get("rss_bytes") else "-"
        row = [age(each["since"]), dash(each["pid"]), str(each["restarts"]), memory]
        processes.add_row(escape(each["name"]), coloured(each["state"], each["detail"]), *row)
    if found:
        out = console()
        out.print()
        out.print(processes)


def unserved(found: dict[str, Any]) -> Iterator[str]:
    """Gateways that answer no call, whatever else is well."""
    for each in found.get("unrecordable", ()):
        yield f"[red]no call is served[/] by {escape(each)}"
    for each in found["processes"]:
        if each["state"] == "silent":
            yield f"[red]{escape(each['name'])}[/] {escape(each['detail'])}"


def troubles(found: dict[str, Any]) -> Iterator[str]:
    """Who counts limits, the ledger, plans, and the audit log, where they are not as they should be."""
    if found.get("counters_away"):
        gateways = many(found["counters_away"], "gateway")
        then = "limited calls get 503 once what was leased is spent; `airboss doctor` asks \\[store] counters"
        yield f"[red]who counts limits is away[/] for {gateways}: {then}"
    if found.get("ledger_trouble"):
        yield f"[red]trouble with the ledger[/]: {escape(found['ledger_trouble'])}"
    for each in found.get("kept_plans", ()):
        yield f"[yellow]a plan from disk is served[/] by {escape(each)}: its ledger was away at its start"
    if found.get("audit_trouble"):
        yield f"[red]the audit log is not what it was[/]: {escape(found['audit_trouble'])}"
    for each in found.get("untold", ()):
        yield f"[yellow]somebody was not told[/]: {escape(each)}"


def put_away(found: dict[str, Any]) -> Iterator[str]:
    """What could not become a record since the start, and why the newest could not."""
    count = found["corrupt_frames"] + found["stray_feedback"]
    if count:
        newest = "".join(f", the newest because {each['why']}" for each in found["dead_letters"][:1])
        where = "see `airboss records dead`"
        letters = f"{count:,} dead letter{'s' if count > 1 else ''} since the start"
        yield f"[yellow]{letters}[/]{escape(newest)}; {where} for those that are left"


def made_room(retention: dict[str, Any]) -> Iterator[str]:
    """Bodies that had to go for want of room."""
    if retention["disk_full"]:
        yield "[red]the disk is nearly full[/]: the oldest bodies make room; free space on it"
    if retention["dropped"]:
        dropped = many(retention["dropped"], "record")
        yield f"bodies of {dropped} were dropped since the start, to make room"


def kept(retention: dict[str, Any]) -> str | None:
    """For how long what is kept, where that has an end."""
    days = {"bodies": retention["bodies_days"], "records": retention["records_days"]}
    days["answers of evaluations"] = retention.get("answers_days")  # not there where an older one runs
    ends = [f"{name} for {many(count, 'day')}" for name, count in days.items() if count is not None]
    if not ends:
        return None
    ran = f", looked at {age(retention['ran_at'])} ago" if retention["ran_at"] else ""
    return f"keeps {', '.join(ends)}{ran}"


def waiting(erasures: int) -> str | None:
    """People who are to be forgotten and are not yet."""
    if not erasures:
        return None
    return f"[yellow]{many(erasures, 'erasure')} pending[/]; see `airboss erase`"


def beside(deployment: dict[str, Any]) -> str:
    """What a rollout exposes beside the stable release, or what waits to be exposed."""
    if deployment["canary"] is not None:
        return f" + {deployment['canary'][:12]} at {100 * deployment['canary_weight']:g}%"
    return f", candidate {deployment['candidate'][:12]}" if deployment["candidate"] is not None else ""


def journal(found: dict[str, Any]) -> str:
    """How far the record store is behind, in one line, and why it is."""
    why = f"\n  {escape(found['store_detail'])}" if found["store_detail"] else ""
    up = "[yellow]slow[/]" if found["store_detail"] else "[green]up[/]"
    away = found.get("waits_for", "record store")  # not there where an older one runs
    store = f"record store {up}" if found["store_up"] else f"{away} [red]down[/]"
    if not found["unmoved_bytes"]:
        return f"{store}, all records moved{why}"
    behind = f"{size(found['unmoved_bytes'])} of journal wait, the oldest for {found['lag_s']:.0f} s"
    return f"{store}, {behind}; nothing is lost while it waits{why}"


def are_out(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The places of models that have failed for longer than a flap lasts."""
    return [each for each in found.get("breakers", ()) if each.get("out_since")]


def out_line(found: dict[str, Any]) -> str:
    """A place that is out, since when, who is asked instead, and the next step."""
    names = ("provider", "url", "key", "last_failure", "deployments", "instead")
    limited = found.get("limited")  # as what else is asked for so, not there where an older one runs
    newer = {"stranded": found.get("stranded", ()), "last_status": found.get("last_status")}
    words = out_words(**{name: found[name] for name in names}, limited=limited, **newer)
    place = f"{found['provider']}/{found['model']}"
    return f"[red]{escape(place)} {OUT_TITLES[limited]}[/] for {age(found['out_since'])}. {escape(words)}"


def breaker(found: dict[str, Any]) -> str:
    """A place that is being left alone, in one line."""
    state = {"half_open": "is tried again"}.get(found["state"], "is left alone for now")
    why = f" after {found['last_failure']}" if found["last_failure"] else ""
    where = f"{found['provider']}/{found['model']} at {found['url']}"
    return f"breaker [red]{found['state'].replace('_', ' ')}[/]: {escape(where)} {state}{escape(why)}"


def fires(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The alarms that fire."""
    return [each for each in found.get("alarms", ()) if each["state"] == "firing"]


def alarms(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Where alarms stand: those with something to say in a line each, and those without in one for all. Of
    many that are well, as many deployments have, their number."""
    calm = [each for each in found if each["value"] is None and each["state"] in ("ok", "no_data")]
    ok = [
        each for each in found if each not in calm and (each["state"], each["silenced_until"]) == ("ok", None)
    ]
    fold = ok if len(ok) > ALARMS_TOLD else []
    yield from (alarm(each) for each in found if each not in calm and each not in fold)
    if fold:
        yield escape(f"{len(fold)} alarms are ok; `airboss monitor list` shows them")
    if calm:
        names = ", ".join(each["name"] for each in calm[:ALARMS_TOLD])
        names += f" and {len(calm) - ALARMS_TOLD} more" if len(calm) > ALARMS_TOLD else ""
        one = len(calm) == 1
        yield escape(f"{len(calm)} alarm{' has' if one else 's have'} nothing to measure yet: {names}")


def alarm(found: dict[str, Any]) -> str:
    """Where an alarm stands, in one line; empty values are dashes."""
    from airboss.store.alert_metrics import chosen_by  # noqa: PLC0415 - as above

    colour = {"ok": "green", "resolved": "green", "firing": "red"}.get(found["state"], "yellow")
    value = amount(found, found["value"])
    if found["kind"] == "sequential" and found["value"] is not None and found["metric"].startswith(SHARES):
        value = f"worse than usual in {found['value']:.2%} of calls"
    silenced = ", silenced" if found["silenced_until"] is not None else ""
    whose = f"{found['deployment']}{chosen_by(found.get('where') or {})}"
    what = f"{found['metric']} of {whose or 'Airboss'} is {value}"
    if found["kind"] == "budget":
        what = f"{found['value'] or 0:.0%} of its budget is spent"
    elif found["kind"] in OWN_WORDS and found["value"] is not None:
        plural = "" if found["value"] == 1 else "s"
        what = OWN_WORDS[found["kind"]].format(value=value, s=plural, deployment=whose)
    name = escape(found["name"])
    return f"alarm {name} [{colour}]{found['state']}[/] for {age(found['since'])}: {escape(what)}{silenced}"


def coloured(state: str, detail: str | None) -> str:
    """A state with its colour, and what there is to say about it."""
    on_its_way = {"starting", "fetching", "stopping", "draining"}
    colour = "green" if state == "ready" else "yellow" if state in on_its_way else "red"
    return f"[{colour}]{state}[/]" + (f" ({escape(detail)})" if detail else "")


def age(moment: str | None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return "-"
    return _lasts((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def until(moment: str | None) -> str:
    """How long to go, in one unit."""
    if moment is None:
        return "-"
    left = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return f"in {_lasts(left)}" if left > 0 else "now"


def _lasts(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
