"""When an alarm fires, when it is well again, and when somebody is told. Facts in, decisions out.

    ok ─ broken ─▶ pending ─ broken for `for` ─▶ firing ─ well for `for` ─▶ resolved ─ an hour ─▶ ok
    pending ─ well ─▶ ok     any ─ nothing to measure for `for`, 30 s at least ─▶ no_data ─▶ pending or ok

A single value within the bound ends `pending`; `firing` and a value that comes and goes need `for` to end, so
that an alarm near its bound does not flap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from airboss.store.alert_causes import Cause, cause_words
from airboss.store.alert_metrics import BAD, chosen_by, length, side, worded
from airboss.store.alert_rows import AlarmEvent, AlarmPhase, AlarmRow, AlarmRule, Silence, Told

RESOLVED_SHOWN: Final = timedelta(hours=1)
"""How long an alarm that fired is shown as resolved before it is plainly ok."""


BLIND_MIN: Final = timedelta(seconds=30)
"""How long nothing must be to be seen before that is said: a store that starts anew is away for seconds."""

CAUSES_TOLD: Final = 5
"""Of what an alarm's calls failed by, the commonest first."""

TIMES: Final = ("since", "well_since", "blind_since", "told_at")
"""Of an `AlarmRow`: what else there is to do depends on how long ago they are."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; without a value, `why` there is none. `broken` None: as the rule's bound says.
    `bound`, `detail` and `memory` as in `AlarmRow`. `records` are ids of calls that were seen to be so, where
    no list of calls is."""

    value: float | None = None
    why: str | None = None
    broken: bool | None = None
    bound: float | None = None
    detail: str | None = None
    memory: Any = None
    records: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where the alarm stands now, what it came from if it moved, and what is to be told if anything is, to
    which notifiers; `again`: they know, and are reminded. `causes`: what its calls failed by."""

    row: AlarmRow
    event: AlarmEvent | None = None
    tell: Told | None = None
    to: tuple[str, ...] = ()
    again: bool = False
    causes: tuple[Cause, ...] = ()


def begun(rule: AlarmRule, now: datetime) -> AlarmRow:
    """An alarm that nobody has looked at yet."""
    return AlarmRow(rule=rule, phase="ok", since=now)


def decide(
    row: AlarmRow, rule: AlarmRule, reading: Reading, *, now: datetime, silence: Silence | None
) -> Decision:
    """Take one reading. While silenced, an alarm goes on but nobody is told; what then still holds is told
    when the silence ends. A notifier that is added to an alarm that fires is told so."""
    after = _moved(row, rule, reading, now)
    event = None
    if after.phase != row.phase:
        event = AlarmEvent(
            alarm=rule.name,
            at=now,
            before=row.phase,
            after=after.phase,
            value=reading.value,
            bound=rule.bound if reading.bound is None else reading.bound,
        )
    if silence is not None and now < silence.until:
        return Decision(row=after, event=event)
    tell, heard = _due(after), hearers(row)
    if tell is not None:
        to = tuple(each for each in rule.notify if tell != "ok" or each in heard)
        told = msgspec.structs.replace(after, told=tell, told_at=now, heard=rule.notify)
        return Decision(row=told, event=event, tell=tell, to=to)
    new = tuple(each for each in rule.notify if each not in heard) if after.phase == "firing" else ()
    if not new and _due_again(after, now):
        told = msgspec.structs.replace(after, told_at=now)
        return Decision(row=told, event=event, tell="firing", to=rule.notify, again=True)
    if not new:
        return Decision(row=after, event=event)
    told = msgspec.structs.replace(after, heard=(*heard, *new))
    return Decision(row=told, event=event, tell="firing", to=new)


def hearers(row: AlarmRow) -> tuple[str, ...]:
    """Who knows what was told last."""
    return row.rule.notify if row.heard is None else row.heard


def notice(
    row: AlarmRow,
    tell: Told,
    *,
    now: datetime,
    window: str,
    link: str,
    page: str,
    again: bool = False,
    causes: Sequence[Cause] = (),
) -> dict[str, Any]:
    """What a notifier is sent. `link` leads to the records in question, `records` are some of them; `page` is
    the alarm's own. `causes` are what calls that it is about failed by."""
    rule = row.rule
    state = "resolved" if tell == "ok" else tell
    return {
        "alarm": rule.name,
        "state": state,
        "reminder": again,
        "kind": rule.kind,
        "deployment": rule.deployment,
        "key": rule.key,
        "team": rule.team,
        "tag": rule.tag,
        "where": dict(rule.where),
        "metric": rule.metric,
        "value": row.value,
        "comparison": side(rule),
        "threshold": rule.bound if row.bound is None else row.bound,
        "window": window,
        "since": row.since.isoformat(),
        "at": now.isoformat(),
        "detail": row.detail,
        "records": list(row.records),
        "causes": msgspec.to_builtins(causes[:CAUSES_TOLD]),
        "link": link,
        "page": page,
        "text": _words(row, f"still {state}" if again else state, window, cause_words(causes)),
    }


def broken(rule: AlarmRule, reading: Reading) -> bool:
    """Whether a reading with a value breaks the bound; the bound itself does not."""
    if reading.broken is not None or reading.value is None:
        return bool(reading.broken)
    return reading.value < rule.bound if rule.below else reading.value > rule.bound


def _moved(row: AlarmRow, rule: AlarmRule, reading: Reading, now: datetime) -> AlarmRow:
    hold = timedelta(seconds=rule.hold_s)
    # Where the clock was set back, times to come have begun now: else all would stand still until then.
    began = {name: min(at, now) for name in TIMES if (at := getattr(row, name))}
    row = msgspec.structs.replace(row, **began)
    seen = msgspec.structs.replace(
        row,
        rule=rule,
        value=reading.value,
        bound=reading.bound,
        why=reading.why,
        detail=reading.detail,
        memory=reading.memory,
        checked_at=now,
    )
    if reading.value is None:
        blind_since = row.blind_since or now
        seen = msgspec.structs.replace(seen, well_since=None, blind_since=blind_since)
        if row.phase != "no_data" and now - blind_since >= max(hold, BLIND_MIN):
            return _into(seen, "no_data", since=blind_since)
        return seen
    seen = msgspec.structs.replace(seen, blind_since=None)
    if broken(rule, reading):
        return _worse(msgspec.structs.replace(seen, well_since=None), now, hold)
    return _better(seen, now, hold)


def _worse(row: AlarmRow, now: datetime, hold: timedelta) -> AlarmRow:
    if row.phase == "firing":
        return row
    since = row.since if row.phase == "pending" else now
    return _into(row, "firing" if now - since >= hold else "pending", since=since)


def _better(row: AlarmRow, now: datetime, hold: timedelta) -> AlarmRow:
    match row.phase:
        case "ok":
            return row
        case "resolved":
            return _into(row, "ok", since=now) if now - row.since >= RESOLVED_SHOWN else row
        case "firing":
            well_since = row.well_since or now
            if now - well_since >= hold:
                return _into(row, "resolved", since=now)
            return msgspec.structs.replace(row, well_since=well_since)
        case "pending" | "no_data":
            # Whoever heard of a fire hears of its end, also where there was nothing to see in between.
            return _into(row, "resolved" if row.told != "ok" else "ok", since=now)


def _into(row: AlarmRow, phase: AlarmPhase, *, since: datetime) -> AlarmRow:
    return msgspec.structs.replace(row, phase=phase, since=since, well_since=None)


def _due(row: AlarmRow) -> Told | None:
    """What those to be told do not know yet."""
    match row.phase:
        case "pending":
            return None
        case "firing":
            wanted: Told = "firing"
        case "no_data":
            # A quiet deployment is no news, unless a fire is out of sight.
            wanted = "no_data" if row.rule.notify_no_data or row.told == "firing" else row.told
        case "ok" | "resolved":
            wanted = "ok"
    return wanted if wanted != row.told else None


def _due_again(row: AlarmRow, now: datetime) -> bool:
    """Whether it has fired for so long since somebody was told that they are told again."""
    if row.phase != "firing" or row.told != "firing" or not row.rule.remind_s:
        return False
    return now - (row.told_at or row.since) >= timedelta(seconds=row.rule.remind_s)


def _words(row: AlarmRow, state: str, window: str, met: str) -> str:
    rule = row.rule
    if row.value is None:
        why = f": {row.why}" if row.why else ""
        return f"{rule.name} {state.replace('_', ' ')}: {_watched(rule)} cannot be measured now{why}"
    measured_as = worded(rule.kind, rule.metric, row.value)
    plural = "" if row.value == 1 else "s"
    bound = worded(rule.kind, rule.metric, rule.bound if row.bound is None else row.bound)
    whose = f"{rule.deployment}{chosen_by(dict(rule.where))}"
    of, fires = f"{rule.metric} of {whose}", f"the alarm is for {side(rule)} {bound} over {window}"
    what = {
        "threshold": f"{of} is {measured_as}; {fires}",
        "change": f"{of} changed by {measured_as} against a week ago; {fires}",
        "burn_rate": f"the error budget of {whose} is used up {measured_as} times too fast "
        f"over {window}; the alarm is for {bound}",
        "sequential": f"{of} is {measured_as} over {window}; {'down' if side(rule) == 'below' else 'up'} to "
        f"{bound} is usual"
        if rule.metric.startswith("score:")
        else f"{measured_as} of the calls of {whose} {BAD.get(rule.metric)}; up to {bound} is usual",
        "drift": f"{measured_as} thing{plural} about {rule.deployment} drifted",
        "budget": f"of the budget of {_payer(rule)} {measured_as} is spent; the alarm is for over {bound}",
        "recording": f"{rule.metric} of Airboss: {measured_as} in the last {window}"
        if rule.metric != "disk_full"
        else f"the disk that Airboss writes to has {'less' if row.value else 'more'} than 256 MiB left",
        "eval": f"the evaluation of {whose}: {measured_as}; the alarm is for {side(rule)} "
        f"{'its baseline' if rule.by_baseline and row.bound is None else bound}",
        "probe": f"the probe of {rule.deployment} found {measured_as} difference{plural}",
    }[rule.kind]
    more = f" ({row.detail})" if row.detail else ""
    more += f"; {met}" if met else ""
    if row.phase == "firing" and row.well_since is not None:
        more += f"; well since {row.well_since:%H:%M:%S} UTC, over once that has lasted {length(rule.hold_s)}"
    return f"{rule.name} {state.replace('_', ' ')}: {what}{more}"


def _watched(rule: AlarmRule) -> str:
    """What an alarm measures, and whose."""
    whose = f"{rule.deployment}{chosen_by(dict(rule.where))}"
    return {
        "burn_rate": f"the error budget of {whose}",
        "drift": f"the drift of {whose}",
        "budget": f"what is spent of the budget of {_payer(rule)}",
        "recording": f"{rule.metric} of Airboss",
        "eval": f"the evaluation of {whose}",
        "probe": f"the probe of {whose}",
    }.get(rule.kind, f"{rule.metric} of {whose}")


def _payer(rule: AlarmRule) -> str:
    """Whose budget it is."""
    if rule.tag:  # which value it is would outlast an erasure
        return f"a value of tag {rule.tag}"
    return f"team {rule.team}" if rule.team else f"key {rule.key}"
