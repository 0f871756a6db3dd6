"""Which judges can be held against people, and what comes of it: read from the record log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from airboss.domain.ports import RecordFilter, RecordLog, ScoreStats
from airboss.domain.score import Score, latest
from airboss.evaluations.agreement import (
    CUT,
    LEAST,
    Agreement,
    Corrected,
    Pair,
    Scored,
    agreement,
    aligned,
    corrected,
    only_ones,
)
from airboss.evaluations.from_records import OWN_KEY
from airboss.store.opinions import CORRECTION, REVIEWS

LOOKED_MAX: Final = 10_000
"""Records that people judged which are looked at, the newest; of more the mean is not corrected."""

REPORTS_MAX: Final = 50


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """How far one judge of a deployment can be believed.

    `judge` is the name of a scorer's scores, `people` that of what people of the house judged, `agreement`
    their comparison over the records that have both, `sampled` how many of these chance chose. `corrected`
    is None where `why` says so. `rescaled`: people's 1 to 5 stands for 0 to 1. `only_ones`: each number of
    theirs is 1 and is taken for a yes, which one star would not be.
    """

    deployment: str
    judge: str
    people: str
    agreement: Agreement
    sampled: int
    corrected: Corrected | None
    why: str | None
    rescaled: bool
    only_ones: bool


def judges(
    log: RecordLog,
    since: datetime,
    until: datetime,
    *,
    deployment: str | None = None,
    judge: str | None = None,
    people: str | None = None,
    cut: float = CUT,
) -> tuple[Judge, ...]:
    """Every judge of calls begun in `[since, until)` that people can be held against, at most REPORTS_MAX; or
    `judge` against `people` in each deployment that has scores of both. Raises StoreUnavailable."""
    stats = [
        each
        for each in log.score_stats(since, until, without_key=OWN_KEY)
        if deployment in (None, each.deployment)
    ]
    found: list[Judge] = []
    for name in sorted({each.deployment for each in stats}):
        own = [each for each in stats if each.deployment == name]
        for a, b in paired(own, judge=judge, people=people)[: REPORTS_MAX - len(found)]:
            where = RecordFilter(deployment=name, since=since, until=until, score=f"review:{b}")
            held = _held(log, where, (a, b), pooled(own, a), cut=cut)
            if held.agreement.n or pooled(own, a) is not None:
                found.append(held)
    return tuple(found)


def paired(
    stats: Sequence[ScoreStats], *, judge: str | None = None, people: str | None = None
) -> list[tuple[str, str]]:
    """Which judges of one deployment are held against which name of people's: the one asked for, else the
    same. Whether another name asks the same question only a person can say."""
    theirs = {each.name for each in stats if each.reviewed}
    names = sorted({each.name for each in stats if judged(each)})
    return [(name, people or name) for name in names if judge in (None, name) and (people or name) in theirs]


def judged(stats: ScoreStats) -> bool:
    """Whether a scorer may have given scores of this name: numbers, or labels, which may be anybody's."""
    return bool(stats.judged or (stats.labelled and stats.name != CORRECTION))


def pooled(stats: Iterable[ScoreStats], name: str) -> Scored | None:
    """All that a judge gave numbers to, whichever release answered; None of nothing."""
    parts = [
        (each.judged, each.judge_mean, each.judge_variance or 0.0)
        for each in stats
        if each.name == name and each.judged
    ]
    total = sum(n for n, _, _ in parts)
    if not total:
        return None
    mean = math.fsum(n * (m or 0.0) for n, m, _ in parts) / total
    spread = math.fsum(n * (v + ((m or 0.0) - mean) ** 2) for n, m, v in parts) / total
    return Scored(n=total, mean=mean, variance=spread)


def pairs_of(scores: Iterable[Score], judge: str, people: str) -> list[Pair]:
    """Of each record that has both, the newest of the judge's values and of people's."""
    by_record: dict[str, tuple[list[Score], list[Score]]] = {}
    for each in scores:
        sides = by_record.setdefault(each.subject_id, ([], []))
        if each.source == "scorer" and each.name == judge:
            sides[0].append(each)
        elif each.source in REVIEWS and each.name == people:
            sides[1].append(each)
    found = []
    for judged_so, said in by_record.values():
        value, opinion = latest(judged_so).get(judge), latest(said).get(people)
        if value is not None and opinion is not None:
            by_chance = any(each.source == "sample" for each in said)
            found.append(Pair(judge=value, person=opinion, sampled=by_chance))
    return found


def _held(
    log: RecordLog, where: RecordFilter, names: tuple[str, str], scored: Scored | None, *, cut: float
) -> Judge:
    """A judge against people, by their names; `where` finds what people judged."""
    assert where.deployment is not None
    judge, people = names
    records = log.records(where, limit=LOOKED_MAX, bodies=False)
    ids = [each.id for each in records if each.key != OWN_KEY]
    pairs, rescaled = aligned(pairs_of(log.scores_of(ids) if ids else (), judge, people))
    sampled = sum(each.sampled for each in pairs)
    mean, why = None, None
    if len(records) == LOOKED_MAX:
        why = f"people judged more than the {LOOKED_MAX:,} that are looked at; choose a shorter time"
    elif sampled < LEAST:
        why = f"of a random sample {sampled} are judged under {people!r}; it takes {LEAST}"
    elif scored is None or (mean := corrected(pairs, scored)) is None:
        why = "labels have no mean"
    return Judge(
        deployment=where.deployment,
        judge=judge,
        people=people,
        agreement=agreement(pairs, cut=cut),
        sampled=sampled,
        corrected=mean,
        why=why,
        rescaled=rescaled,
        only_ones=only_ones(pairs),
    )
