"""Drift: whether calls are still such calls as there were, by a test that is seldom wrong. Pure.

The first calls are the reference. Every feature's values fall into bins (`drift_features`), and each bin has
a sequential test (`sequential`) that not more calls fall into it than `limit` after the reference: whatever
moves, some bin gets more. The chance of a false alarm in an epoch, a week, is `alpha` for all features and
bins together: each bin's test has its part of it (a union bound). Then, if nothing was found, the calls of a
new reference are gathered, so that slow change is not held against a distant past.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.evaluations import sequential
from airboss.evaluations.drift_features import FEATURES, Binning, Seen, bin_of, binning, bins
from airboss.evaluations.sequential import Test

EPOCH: Final = timedelta(days=7)
STEPS: Final = 20_000
LEAST: Final = 0.06
"""A bin with less than that of all calls is no drift."""

EXAMPLES: Final = 5
RECENT: Final = 200
"""Calls that the present shares are of."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A bin under test: how many of the reference were in it, since when more seem to be (`lead` is the
    evidence for that), of how many calls how many are in it since, and the newest of those."""

    test: Test
    before: int
    since: datetime
    lead: float = 0.0
    n: int = 0
    inside: int = 0
    newest: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What drifted: since when more calls are in this bin, how many were and are (of `n_before` and
    `n_after`), and examples, ids of records, from before and after."""

    feature: str
    bin: str
    since: datetime
    at: datetime
    before: int
    n_before: int
    after: int
    n_after: int
    examples_before: tuple[str, ...]
    examples_after: tuple[str, ...]
    e_value: float


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Where drift of a deployment stands. `until` is how far calls were looked at. While `learning` is not
    full it gathers the reference; then `binnings`, `watched` (by feature and bin) and `recent` are set.
    `topics_by` is the model whose vectors topics are told by; None: hashed words."""

    deployment: str
    since: datetime
    until: datetime
    alpha: float
    reference: int
    learning: tuple[Seen, ...] = ()
    examples: tuple[str, ...] = ()
    binnings: dict[str, Binning] = {}
    watched: dict[str, dict[str, Watched]] = {}
    recent: dict[str, tuple[str, ...]] = {}
    found: tuple[Found, ...] = ()
    topics_by: str | None = None

    @property
    def tests(self) -> int:
        """How many there are at once."""
        return sum(map(len, self.watched.values()))


def read(kept: bytes | None) -> Drift | None:
    """A state as JSON; None where there is none, or one of an older Airboss that looked at less of a call."""
    try:
        return msgspec.json.decode(kept, type=Drift) if kept is not None else None
    except msgspec.ValidationError:
        return None


def begun(
    deployment: str, *, alpha: float, reference: int, now: datetime, topics_by: str | None = None
) -> Drift:
    """Nothing is known yet."""
    return Drift(
        deployment=deployment, since=now, until=now, alpha=alpha, reference=reference, topics_by=topics_by
    )


def after(state: Drift, calls: Sequence[Seen], *, now: datetime) -> Drift:
    """The state after these calls, the oldest first."""
    if calls:
        state = msgspec.structs.replace(state, until=max(each.at for each in calls))
    if not state.watched:
        gathered = (*state.learning, *calls)
        full = len(gathered) >= state.reference
        return _learned(state, gathered, now) if full else msgspec.structs.replace(state, learning=gathered)
    if not state.found and now - state.since >= EPOCH:
        again = msgspec.structs.replace(
            begun(state.deployment, alpha=state.alpha, reference=state.reference, now=now),
            until=state.until,
            topics_by=state.topics_by,
        )
        return after(again, calls, now=now)
    return _tested(state, calls, now) if calls else state


def _learned(state: Drift, calls: Sequence[Seen], now: datetime) -> Drift:
    binnings = {name: binning(name, [getattr(each, name) for each in calls]) for name in FEATURES}
    watched = {}
    for name, how in binnings.items():
        inside = [bin_of(how, getattr(each, name)) for each in calls]
        watched[name] = {
            each: Watched(
                test=Test(limit=sequential.limit(inside.count(each), len(calls), least=LEAST), steps=STEPS),
                before=inside.count(each),
                since=now,
            )
            for each in bins(how)
        }
    return msgspec.structs.replace(
        state,
        since=now,
        reference=len(calls),
        learning=(),
        examples=tuple(each.id for each in calls[-EXAMPLES:]),
        binnings=binnings,
        watched=watched,
        recent=dict.fromkeys(binnings, ()),
    )


def _tested(state: Drift, calls: Sequence[Seen], now: datetime) -> Drift:
    level = state.alpha / state.tests
    known = {(each.feature, each.bin) for each in state.found}
    watched, recent, found = {}, {}, list(state.found)
    for name, how in state.binnings.items():
        inside = [bin_of(how, getattr(each, name)) for each in calls]
        recent[name] = (*state.recent.get(name, ()), *inside)[-RECENT:]
        watched[name] = {
            each: _watched(one, [call for call, at in zip(calls, inside, strict=True) if at == each], calls)
            for each, one in state.watched[name].items()
        }
        found += [
            _found(state, name, each, one, now)
            for each, one in watched[name].items()
            if (name, each) not in known and sequential.rejected(one.test, level)
        ]
    return msgspec.structs.replace(state, watched=watched, recent=recent, found=tuple(found))


def _watched(one: Watched, inside: Sequence[Seen], calls: Sequence[Seen]) -> Watched:
    test = sequential.after(one.test, n=len(calls), bad=len(inside))
    known = {each.id for each in inside}
    lead, since, n, newest = one.lead, one.since, one.n, one.newest
    within = one.inside
    for call in calls:  # one by one, so that none from before it began is among those since
        hit = call.id in known
        before, lead = lead, lead + sequential.evidence(one.test, n=1, bad=int(hit))
        if lead <= 0:
            # No more are in it than may be: whatever happens, it has not begun yet.
            lead, since, n, within, newest = 0.0, call.at, 0, 0, ()
            continue
        # Nothing may have come for days before.
        since, n, within = since if before > 0 else call.at, n + 1, within + hit
        newest = (*newest, call.id)[-EXAMPLES:] if hit else newest
    return msgspec.structs.replace(one, test=test, lead=lead, since=since, n=n, inside=within, newest=newest)


def _found(state: Drift, feature: str, where: str, one: Watched, now: datetime) -> Found:
    return Found(
        feature=feature,
        bin=where,
        since=one.since,
        at=now,
        before=one.before,
        n_before=state.reference,
        after=one.inside,
        n_after=one.n,
        examples_before=state.examples,
        examples_after=one.newest,
        e_value=one.test.e_value,
    )
