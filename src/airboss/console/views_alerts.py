"""Alerts: where each alarm stands, what it went through, who was told, and how to be left in peace."""

from __future__ import annotations

from datetime import datetime

import msgspec

from airboss.config import AlarmConfig
from airboss.console import api_alarms
from airboss.console.alarm_chart import alarm_chart
from airboss.console.api_alarms import Alarm
from airboss.console.desk import Desk
from airboss.console.findings import PROVIDERS, Finding, system_findings, why_down
from airboss.console.overview import TIMES
from airboss.console.page import Action, Form, Page, View, asking, period_of
from airboss.console.query import TIME_NAMES
from airboss.console.render import Visit, url
from airboss.console.text import NB, milliseconds, usd
from airboss.console.wire import encode
from airboss.domain.errors import InvalidRequest, StoreUnavailable
from airboss.domain.status import SystemStatus
from airboss.governance.budgets import members
from airboss.store.alert_causes import calls_about, cause_words
from airboss.store.alert_metrics import BAD, chosen_by, of_least
from airboss.store.alert_pages import link_words, page_of
from airboss.store.alert_rows import AlarmRow, calls_of, looked_back
from airboss.store.alert_rules import of_teams, rule_of

ORDER = {"firing": 0, "pending": 1, "no_data": 2, None: 3, "resolved": 4, "ok": 5}
"""What wants to be seen first."""

IDLE_MAX = 24
"""So many default alarms without anything to measure are listed; more of them would be the whole page."""

COUNTED = {"requests": "call", "input_tokens": "token", "output_tokens": "token"}
"""Metrics that are numbers of something."""

LENGTHS = ("30m", "2h", "8h", "24h", "7d")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm with its numbers in words; `records` leads to the calls it is about, or to the page that tells
    of it, under the name `leads`; `chosen` says which of the deployment's these are, where not all. `well`:
    it fires, and its value is within the bound again, not yet for long enough."""

    alarm: Alarm
    value: str | None
    threshold: str | None
    measures: str
    records: str
    leads: str
    chosen: str
    well: bool


def listing(desk: Desk, seen: Visit) -> View:
    """Every alarm, those that want something first; of many with nothing to measure how many there are."""
    found = api_alarms.alarms(desk, asking(seen))
    known = api_alarms.alarms_of(desk, api_alarms.in_force(desk))
    listed = sorted(found.alarms, key=lambda each: (ORDER[each.state], each.default, each.name))
    rows = desk.alerts.alarms()
    alarms = [
        shown(each, known[each.name], rows.get(each.name), seen) for each in listed if each.name in known
    ]
    calm = (None, "no_data", "ok")
    idle = [s for s in alarms if s.alarm.default and s.value is None and s.alarm.state in calm]
    folded = idle if len(idle) > IDLE_MAX and "all" not in seen.params else []
    listed_too = [each for each in alarms if each not in folded]
    return View("alerts.html", alarms=alarms, listed=listed_too, folded=len(folded), said=said)


def one(desk: Desk, seen: Visit) -> View:
    """One alarm, with a picture of what it watches; while records cannot be read, without."""
    found = api_alarms.alarm(desk, asking(seen))
    name, known, _config = api_alarms.named(desk, asking(seen))
    period = period_of(desk, seen)
    picture, unread, met = None, "", ""
    row = desk.alerts.alarms().get(name)
    try:
        rule = of_teams(rule_of(name, known), members(desk.ledger.all_keys()))
        picture = alarm_chart(desk, rule, found.events, period, zone=str(seen.zone))
        if row is not None and row.phase in ("pending", "firing"):
            met = cause_words(calls_about(row, desk.log, seen.now)[1])
    except StoreUnavailable as error:
        unread = str(error)
    return View(
        "alert.html",
        period=period,
        keep=seen.params,
        picture=picture,
        unread=unread,
        chart_json=encode(picture).decode(),
        a=shown(found.alarm, known, row, seen),
        findings=unanswered(desk.status(), known.deployment),
        met=met,
        events=[(each, words(found.alarm, each.value)) for each in found.events],
        notifications=found.notifications,
        lengths=LENGTHS,
    )


def shown(alarm: Alarm, config: AlarmConfig, row: AlarmRow | None, seen: Visit) -> Shown:
    """An alarm for a page."""
    led = records(alarm, config, None if row is None else row.memory, seen.now)
    if alarm.kind == "eval" and not seen.caller.may("reader"):
        led = "/evaluations"  # those of one evaluation say what was asked and answered
    return Shown(
        alarm=alarm,
        value=words(alarm, alarm.value),
        threshold=words(alarm, alarm.threshold),
        measures=measures(alarm, config),
        records=led,
        leads="Show the evaluations" if led == "/evaluations" else leads(alarm),
        chosen=chosen_by(alarm.where),
        well=alarm.state == "firing" and within(alarm),
    )


def unanswered(status: SystemStatus, name: str) -> list[Finding]:
    """Who does not answer a deployment's calls; where others do instead, that."""
    found = [each for each in system_findings(status) if name in each.deployments]
    own = next((each for each in status.deployments if each.name == name), None)
    left = any(name in each.deployments for each in status.breakers)
    if found or not left or own is None or not own.detail:
        return found
    title = f"Who is asked first for {name} does not answer."
    return [Finding(level="warn", title=title, detail=why_down(own), path=PROVIDERS)]


def leads(alarm: Alarm) -> str:
    """What the link to what an alarm is about is called."""
    return link_words(alarm.kind, team=alarm.team, tag=alarm.tag)


def firing(desk: Desk, seen: Visit) -> dict[str, str]:
    """What each alarm that fires is about, by its name; a test's evidence is for the alarm's own page."""
    found = [
        msgspec.structs.replace(each, detail=None) if each.kind == "sequential" else each
        for each in api_alarms.alarms(desk, asking(seen)).alarms
    ]
    known = api_alarms.alarms_of(desk, api_alarms.in_force(desk))
    return {
        each.name: said(shown(each, known[each.name], None, seen))
        for each in found
        if each.state == "firing" and each.name in known
    }


def on_errors(desk: Desk) -> dict[str, str]:
    """The alarms that are about all calls of a deployment that failed, and which that is."""
    return {
        name: row.rule.deployment
        for name, row in desk.alerts.alarms().items()
        if row.rule.deployment
        and not row.rule.where
        # as the page of records is asked for them
        and calls_of(row.rule, row.since, None, memory=row.memory).get("status") == "error"
    }


def said(one: Shown) -> str:
    """What an alarm that fires measures, beside its bound, in a sentence or two."""
    alarm, value = one.alarm, one.value
    whose = f"{alarm.deployment or alarm.key or alarm.team or alarm.tag or 'Airboss'}{one.chosen}"
    if value is None:
        return f"nothing to measure now{f': {alarm.why}' if alarm.why else ''}{more(alarm)}."
    words = f"{alarm.metric} of {whose} is {value}"
    if alarm.kind == "burn_rate":
        words = f"the error budget of {whose} burns {value} as fast as it may"
    elif alarm.kind == "sequential" and not alarm.metric.startswith("score:"):
        words = f"{value} of the calls of {whose} {BAD.get(alarm.metric)}"
    if one.threshold is not None:
        words += f", {'no longer ' if one.well else ''}{alarm.comparison} {one.threshold}"
    ends = f" It ends once that has lasted {alarm.hold}." if one.well else ""
    return f"{words}{more(alarm)}.{ends}"


def more(alarm: Alarm) -> str:
    """What else there is to know of its value."""
    return f" ({alarm.detail})" if alarm.detail else ""


def within(alarm: Alarm) -> bool:
    """Whether the bound alone says that it is well now; others than these take more than a bound."""
    if alarm.kind not in ("threshold", "change", "eval") or alarm.value is None or alarm.threshold is None:
        return False
    if alarm.comparison == "worse than":
        return False
    if alarm.comparison == "below":
        return alarm.value >= alarm.threshold
    return alarm.value <= alarm.threshold


def words(alarm: Alarm, value: float | None) -> str | None:
    """A value of an alarm with its unit; None where there is none."""
    if value is None:
        return None
    if alarm.kind == "burn_rate":
        return f"{value:.1f}{TIMES}"
    if alarm.kind in ("probe", "drift", "recording"):
        return f"{value:.0f}"
    if alarm.kind == "sequential" and not alarm.metric.startswith("score:"):
        return f"{100 * value:.2f}{NB}%"
    if alarm.kind == "change" and not alarm.metric.startswith("score:"):
        points = f"{NB}points" if alarm.metric.endswith("_rate") else f"{NB}%"
        return f"{100 * value:+.1f}{points}"
    return amount(alarm.metric, value)


def amount(metric: str, value: float) -> str:
    """A metric's value with its unit."""
    if metric in COUNTED:
        return f"{value:,.0f}{NB}{COUNTED[metric]}{'' if value == 1 else 's'}"
    if metric.endswith("_rate"):
        return f"{100 * value:.2f}{NB}%"
    if metric == "budget":
        return f"{100 * value:.0f}{NB}%"
    if metric.startswith(("latency", "ttft")):
        return milliseconds(value)
    if metric == "cost_usd":
        return usd(value)
    return f"{value:,.1f}{NB}tok/s" if metric == "tokens_per_s" else f"{value:.3f}"


def measures(alarm: Alarm, config: AlarmConfig) -> str:
    """What it watches, in a few words."""
    if config.slo is not None:
        within = f" within {config.slo.latency_ms:g}{NB}ms" if config.slo.latency_ms is not None else ""
        return f"{100 * config.slo.target:g}{NB}% answered{within} over {config.slo.window}"
    match alarm.kind:
        case "probe":
            return f"a probe of bias every {config.every}"
        case "eval":
            return evaluates(config)
        case "drift":
            return "calls and answers against what is usual"
        case "sequential":
            weeks = f"one false alarm in {1 / config.alpha:,.0f} weeks at most"
            return f"{alarm.metric} against its own past, {weeks}"
        case "change":
            what = f"{alarm.metric} over {alarm.window} against the week before"
        case "budget":
            what = "what is spent of its budget"
        case _:
            full = alarm.metric == "disk_full"
            what = f"less than 256{NB}MiB left on its disk" if full else f"{alarm.metric} over {alarm.window}"
    return f"{what}{of_least(alarm.metric, alarm.min_requests)}{lasting(alarm)}"


def evaluates(config: AlarmConfig) -> str:
    """What an evaluation is of, and how often it is made."""
    asked = config.eval
    assert asked is not None  # it is of that kind
    scorer = (
        asked.scorer
        if isinstance(asked.scorer, str)
        else asked.scorer.get("name") or asked.scorer.get("kind")
    )
    held = "" if (config.above, config.below) != (None, None) else ", against its baseline"
    return f"{scorer} on {asked.dataset} ({asked.part}), every {config.every}{held}"


def lasting(alarm: Alarm) -> str:
    """For how long it must hold; nothing of one that fires at once."""
    return f", for {alarm.hold}" if alarm.hold != "0s" else ""


def records(alarm: Alarm, config: AlarmConfig, memory: object, now: datetime) -> str:
    """The calls that an alarm is about: those of its window, from before it began."""
    rule = rule_of(alarm.name, config)
    page = page_of(rule, memory)
    if page is not None:
        return f"/{page}"
    began = alarm.since if alarm.state in ("firing", "pending") and alarm.since is not None else now
    since = (began - looked_back(rule, memory)).replace(microsecond=0)
    return url("/records", calls_of(rule, since, None, memory=memory))


def silence(desk: Desk, form: Form) -> str:
    """Tell nobody of an alarm for a while."""
    api_alarms.silence_alarm(
        desk, form.call({"for": form.needed("for", most=20), "reason": form.needed("reason")})
    )
    return url_of(form)


def unsilence(desk: Desk, form: Form) -> str:
    """Tell of it again."""
    api_alarms.silence_alarm(desk, form.call({"for": ""}))
    return url_of(form)


def test(desk: Desk, form: Form) -> str:
    """Send a test to all whom an alarm notifies."""
    tested = api_alarms.test_alarm(desk, form.call())
    failed = [each for each in tested.notifications if each.state == "failed"]
    if failed:
        causes = "; ".join(f"{each.notifier}: {each.error or 'no cause was given'}" for each in failed)
        raise InvalidRequest(f"the test did not arrive: {causes}", code="test_failed")
    return url_of(form)


def url_of(form: Form) -> str:
    """The alarm's page."""
    return f"/alerts/{form.parts['name']}"


PAGES: tuple[Page, ...] = (
    Page(
        path="/alerts",
        draw=listing,
        params=("all",),
        role="viewer",
        room="alerts",
        docs="how-to#be-told-when-something-is-wrong",
    ),
    Page(
        path="/alerts/{name}",
        draw=one,
        params=TIME_NAMES,
        role="viewer",
        room="alerts",
        docs="configuration#alarmsname",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="alert.silence",
        path="/alerts/{name}/silence",
        act=silence,
        role="operator",
        done="Silenced: nobody is told of it until then. It is still watched and shown.",
    ),
    Action(
        name="alert.unsilence",
        path="/alerts/{name}/unsilence",
        act=unsilence,
        role="operator",
        done="The silence has ended; whoever is to be told is told again.",
    ),
    Action(
        name="alert.test",
        path="/alerts/{name}/test",
        act=test,
        role="operator",
        done="A test was sent; below is what became of it.",
    ),
)
"""What its forms do."""
