"""How far judges can be believed, as the page Quality shows it."""

from __future__ import annotations

import msgspec

from airboss.console.api_judges import read_cut
from airboss.console.desk import Desk
from airboss.console.picture import Picture, Spread, picture
from airboss.console.query import Period
from airboss.evaluations.from_records import OWN_KEY
from airboss.evaluations.intervals import Interval
from airboss.evaluations.judges import Judge, judged, judges
from airboss.store.opinions import CORRECTION


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One number with its interval; None where there is none. `means` says it in words."""

    name: str
    means: str
    interval: Interval | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One judge: its numbers, and its mean before and after, drawn."""

    judge: Judge
    rows: tuple[Row, ...]
    means: Picture | None


class Believed(msgspec.Struct, frozen=True, kw_only=True):
    """The section: judges, and what may be held against what."""

    told: tuple[Told, ...]
    judges: tuple[str, ...]
    people: tuple[str, ...]


def believed(desk: Desk, period: Period, params: dict[str, str]) -> Believed:
    """Judges of the period, those that the address asks for. Raises InvalidRequest, StoreUnavailable."""
    cut, chosen = read_cut(params.get("cut")), params.get("deployment")
    stats = [
        each
        for each in desk.log.score_stats(period.since, period.until, without_key=OWN_KEY)
        if chosen in (None, each.deployment)
    ]
    people = {each.name for each in stats if each.reviewed} - {CORRECTION}
    found = (
        judges(
            desk.log,
            period.since,
            period.until,
            deployment=chosen,
            judge=params.get("judge"),
            people=params.get("people"),
            cut=cut,
        )
        if people
        else ()
    )
    return Believed(
        told=tuple(map(told, found)),
        judges=tuple(sorted({each.name for each in stats if judged(each)})),
        people=tuple(sorted(people)),
    )


def told(found: Judge) -> Told:
    """One judge in rows."""
    by = found.agreement
    rows = [
        Row(name="Agreement", means="of answers, both say the same", interval=by.agreement),
        Row(name="Cohen's kappa", means="0 is what chance would do, 1 is always", interval=by.kappa),
    ]
    if by.yes_no:
        rows += [
            Row(name="Sensitivity", means="of people's yes, the judge says yes", interval=by.sensitivity),
            Row(name="Specificity", means="of people's no, the judge says no", interval=by.specificity),
        ]
    return Told(judge=found, rows=tuple(rows), means=means(found))


def means(found: Judge) -> Picture | None:
    """The judge's mean as it says it, and as people put it right."""
    mean = found.corrected
    if mean is None:
        return None
    at = mean.judge_mean
    own = Spread(label=f"judge, n {mean.scored:,}", low=at, high=at, estimate=at, note=f"{at:.3f}")
    bars = [
        own,
        drawn("corrected", mean.corrected),
        drawn(f"people, n {mean.sampled:,}", mean.people),
    ]
    return picture(bars, margin=None, higher_is_better=None, words=lambda value: f"{value:g}")


def drawn(label: str, interval: Interval) -> Spread:
    """One bar."""
    return Spread(
        label=label,
        low=interval.low,
        high=interval.high,
        estimate=interval.estimate,
        note=f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})",
    )
