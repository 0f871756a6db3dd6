"""Which of a target's places an attempt goes to: an address with a key. Pure but for what is counted.

Of several, two are drawn by weight and the one with less outstanding, for its weight, is taken; as good ones
stay the first drawn, so that idle places get their shares. With `affinity`, calls that begin alike go to the
same place, found by the least of hashes for its weight, as long as it has not more than LOAD_MAX times its
share of what is outstanding. A place that is being avoided (its breaker is open, it said when to come back,
it refused a connection a moment ago) is taken only where all are.

Calls on trial (of a canary, a shadow, an evaluation) have places of their own: what a candidate breaks opens
no breaker that stable's callers would meet.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from airboss.domain.plan import Target
from airboss.gateway.breaker import STREAK_MAX, Breaker
from airboss.providers.pools import Origin, Pool, Pools
from airboss.telemetry.failures import count_failure
from airboss.telemetry.metrics import OUT_S, Limited, ShownPlace, TargetUse, shown_places, shown_url

if TYPE_CHECKING:
    from airboss.gateway.answer import AnyAnswer

LOAD_MAX = 1.25
SAMPLES_MAX = 256
"""First-token times that are kept of a place."""
FAILURE_CHARS = 60
REFUSED_S = 1.0
"""So long a place that refused a connection is asked last: having nothing to do, it would be first."""


class Place:
    """One address with one key, as one model is asked there; lives as long as the worker."""

    __slots__ = (
        "answered_at",
        "answered_n",
        "avoid_until",
        "breaker",
        "failed_at",
        "failures",
        "in_vain_at",
        "in_vain_n",
        "key_ref",
        "lacks_until",
        "last_error",
        "last_status",
        "latency_s",
        "limited",
        "model",
        "outstanding",
        "pool",
        "probe",
        "provider",
        "rate_limited_n",
        "refused_n",
        "took_s",
        "took_whole_s",
        "trial",
        "unreachable",
        "url",
        "weight",
    )

    def __init__(
        self, target: Target, url: str, key_ref: str | None, pool: Pool, *, trial: bool = False
    ) -> None:
        self.provider = target.provider
        self.model = target.upstream_model
        self.url = url
        self.key_ref = key_ref
        self.pool = pool
        self.trial = trial
        self.weight = 1.0
        self.outstanding = 0
        self.latency_s = 0.0
        self.last_error, self.last_status = "", 0
        self.failures: dict[str, int] = {}
        self.breaker = Breaker()
        self.probe: AnyAnswer | None = None
        """What comes of the newest attempt that was made though its breaker is not closed."""
        self.answered_n = self.rate_limited_n = self.refused_n = 0
        """Attempts that ended well, met a limit that a wait mends, or were refused for what they said: to the
        breaker each of these is an answer."""
        self.answered_at: float | None = None
        self.in_vain_n = 0
        """Attempts that met its fault or its limit since it was last asked with success."""
        self.in_vain_at = self.failed_at = 0.0
        """When these were STREAK_MAX, and when there was one last, if there are."""
        self.limited: Limited | None = None
        """The kind of limit that the last of them met."""
        self.avoid_until = 0.0
        self.unreachable = False
        """Whether a connection was not made in time. Until one is (`Trying`), no call that can be answered
        elsewhere has to find that out: it would wait as long."""
        self.lacks_until = 0.0
        """Until then a route that not every provider has is taken to be missing here."""
        self.took_s: deque[float] = deque(maxlen=SAMPLES_MAX)
        self.took_whole_s: deque[float] = deque(maxlen=SAMPLES_MAX)

    @property
    def lets_nobody_in(self) -> bool:
        """Whether a limit has refused every attempt for OUT_S and more, the newest too."""
        out = self.in_vain_n >= STREAK_MAX and self.failed_at - self.in_vain_at >= OUT_S
        return out and self.limited is not None

    def free(self, now: float) -> bool:
        """Whether nothing speaks against it."""
        return self.avoid_until <= now and (not self.breaker.tripped or self.lets_through(now))

    def lets_through(self, now: float) -> bool:
        """Whether a call may find out whether it is back: beside another only once that is being answered."""
        if self.probe is not None and self.probe.first_output_at is not None:
            return True
        return not self.unreachable and self.breaker.lets_through(now)

    def failed_with(self, error: str, status: int | None = None) -> None:
        """An attempt failed with this error, which may stand in metrics and on pages; `status` is the
        upstream's, None if there was no head."""
        self.last_status = status or 0
        # An upstream may name its errors as it likes.
        self.last_error = error[:FAILURE_CHARS]
        count_failure(self.failures, self.last_error)

    def failed(
        self,
        fault: bool | None,  # noqa: FBT001 - a finding, no switch
        limited: Limited | None,
        now: float,
    ) -> None:
        """An attempt ended in an error: the place's fault or not (None: nobody knows), or a limit's of its.
        A call that it refuses for what that says shows that it is there, not that a limit lets any through.
        """
        if fault is False and limited:
            self.rate_limited_n += 1
        elif fault is False:
            self.refused_n += 1
        if fault or (limited and fault is not None):
            self.in_vain_n += 1
            self.failed_at = now
            if self.in_vain_n == STREAK_MAX:
                self.in_vain_at = now
            if self.limited == "out_of_quota" and not fault:
                fault = None
            else:
                self.limited = limited
        elif fault is not None and self.limited:
            fault = None if self.breaker.tripped else fault
        elif fault is not None:
            self.in_vain_n = 0
        self.breaker.ended(fault, now)

    def ended(
        self, first_output_at: float | None, began: float, *, stream: bool, well: bool, left: bool = False
    ) -> None:
        """An attempt ended now, `well`, or its client `left`: if amid an answer, it was there for that."""
        self.probe = None
        if well or (left and first_output_at is not None):
            self.breaker.answered()
            self.well()
            if first_output_at is not None:
                self.answered_at = first_output_at
        elif self.breaker.tripped:
            self.breaker.left()
        if well:
            self.answered_n += 1
        if well and first_output_at is not None:
            took_s = first_output_at - began
            self.latency_s += took_s
            (self.took_s if stream else self.took_whole_s).append(took_s)

    def well(self) -> None:
        """It answers: what was in vain is over."""
        self.in_vain_n, self.limited, self.unreachable = 0, None, False

    def use(self, now: float, at: datetime) -> TargetUse:
        """How it does, to be shared; `at` is the time of day that it is `now`."""
        breaker = self.breaker

        def moment(then: float | None) -> datetime | None:
            return None if then is None else at - timedelta(seconds=now - then)

        in_vain = self.in_vain_n >= STREAK_MAX
        state = {"closed": 0, "half_open": 1, "open": 2}[breaker.state(now)]
        return TargetUse(
            self.provider,
            self.model,
            shown_url(self.url),
            self.key_ref or "",
            state,
            self.outstanding,
            self.answered_n,
            breaker.failed_n,
            breaker.opened_n,
            self.latency_s,
            self.last_error,
            dict(self.failures),
            moment(self.in_vain_at if in_vain else None),
            moment(self.failed_at if in_vain or breaker.tripped else None),
            moment(self.answered_at),
            self.limited,
            self.rate_limited_n,
            self.refused_n,
            self.last_status,
        )

    def usual_s(self, quantile: float, *, stream: bool) -> float | None:
        """The quantile of the time to the first output of a stream, or to a whole answer; None as long as
        too few are known."""
        took = self.took_s if stream else self.took_whole_s
        if len(took) < 20:
            return None
        return sorted(took)[min(len(took) - 1, int(len(took) * quantile))]


PlaceKey = tuple[str, str, str | None, str, bool]
"""A provider, an address of its, a reference to a key, a model, and whether it is for calls on trial: what
tells one place from another."""

Known = dict[int, tuple[Target, tuple[Place, ...]]]
"""The places of targets, by the target's id."""


class Places:
    """Every place that has been asked. Owns the connection pools."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._places: dict[PlaceKey, Place] = {}
        self._of_target: tuple[Known, Known] = ({}, {})
        self._before: dict[ShownPlace, TargetUse] = {}
        """What lives of this worker before this one have seen."""

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def of(self, target: Target, *, trial: bool = False) -> tuple[Place, ...]:
        """The places of a target, for calls on trial or for all others."""
        of_target = self._of_target[trial]
        known = of_target.get(id(target))
        if known is not None and known[0] is target:
            return known[1]
        weights = target.weights or (1.0,) * len(target.base_urls)
        found = []
        for key, weight in zip(_keys(target, trial=trial), weights, strict=True):
            place = self._places.get(key)
            if place is None:
                _, url, ref, _, _ = key
                pool = self._pools.get(target.provider, Origin.parse(url), keep=target.kind != "local")
                place = self._places[key] = Place(target, url, ref, pool, trial=trial)
            if place in found:  # an address and key that is written twice is one place, with both shares
                place.weight += weight
                continue
            place.weight = weight
            found.append(place)
        of_target[id(target)] = (target, tuple(found))
        return tuple(found)

    def are_back(self, tested: Iterable[Place]) -> None:
        """Places on trial have answered who wanted to find out whether they do: so they will all others."""
        for each in tested:
            own = self._places.get((each.provider, each.url, each.key_ref, each.model, False))
            if own is not None and own is not each:
                own.well()
                own.breaker.close()
                own.answered_at = each.answered_at

    def resume(self, held: Iterable[TargetUse]) -> None:
        """Go on from what a last life of this worker has shared; what it had under way has ended with it."""
        for use in held:
            shown = (use.provider, use.model, use.url, use.key)
            self._before[shown] = msgspec.structs.replace(use, state=0, outstanding=0, in_vain_at=None)

    def uses(self, now: float, at: datetime) -> list[TargetUse]:
        """How each place does, to be shared; `at` as in `Place.use`. Where it is also for calls on
        trial, these are counted in, and the breaker is that of all others."""
        found: dict[ShownPlace, TargetUse] = {}
        for place in sorted(self, key=lambda each: each.trial):
            use = place.use(now, at)
            known = found.setdefault((use.provider, use.model, use.url, use.key), use)
            if known is not use:
                known.add(use)
        for shown, before in self._before.items():
            found.setdefault(shown, TargetUse(*shown)).add(before)
        return list(found.values())

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget every place that a new plan has not got: replicas come at other ports each time. One that a
        call is at, or comes back to, is forgotten with the next plan."""
        for of_target in self._of_target:
            of_target.clear()
        every = tuple(targets)
        there = {key for target in every for trial in (False, True) for key in _keys(target, trial=trial)}
        before, self._places = self._places, {}
        for key, place in before.items():
            if key in there or place.outstanding:
                self._places[key] = place
            else:
                place.unreachable = False  # nobody finds out any more
        kept = {shown for target in every for shown in shown_places(target)}
        self._before = {shown: use for shown, use in self._before.items() if shown in kept}
        self._pools.keep({place.pool for place in self})

    def outstanding(self) -> dict[str, int]:
        """Attempts under way, by base URL; URLs without any are left out."""
        found: dict[str, int] = {}
        for place in self:
            if place.outstanding:
                found[place.url] = found.get(place.url, 0) + place.outstanding
        return found

    def close(self) -> None:
        """Close every connection."""
        self._pools.close_all()


def _keys(target: Target, *, trial: bool) -> list[PlaceKey]:
    refs = target.key_refs or (target.api_key_ref,) * len(target.base_urls)
    return [
        (target.provider, url, ref, target.upstream_model, trial)
        for url, ref in zip(target.base_urls, refs, strict=True)
    ]


def choose(
    places: Sequence[Place],
    now: float,
    rng: random.Random,
    *,
    beginning: bytes | None = None,
    but: Collection[Place] = (),
) -> Place:
    """The place for an attempt; `but` are those that have failed the call already, taken only where there are
    no others. `beginning` is what affinity goes by."""
    if len(places) == 1:
        return places[0]
    found = (
        [each for each in places if each not in but and each.free(now)]
        or [each for each in places if each not in but]
        or [each for each in places if each.free(now)]
        or list(places)
    )
    if len(found) == 1:
        return found[0]
    if beginning is not None:
        all_of = sum(each.outstanding for each in found) + 1
        weights = sum(each.weight for each in found)
        for each in sorted(found, key=lambda each: _mark(each, beginning)):
            if each.outstanding <= LOAD_MAX * all_of * each.weight / weights:
                return each
    one = _drawn(found, rng)
    other = _drawn([each for each in found if each is not one], rng)
    return other if other.outstanding / other.weight < one.outstanding / one.weight else one


def _mark(place: Place, beginning: bytes) -> float:
    return mark(f"{place.url} {place.key_ref or ''} ", beginning, place.weight)


def mark(known_by: str, beginning: bytes, weight: float) -> float:
    """What a beginning's places are sorted by, so that of many beginnings each place comes first with its
    share: rendezvous hashing with weights (Schindelhauer and Schomaker 2005)."""
    drawn = int.from_bytes(blake2b(known_by.encode() + beginning, digest_size=6).digest())
    return -math.log((drawn + 1) / (2**48 + 1)) / weight


def _drawn(places: Sequence[Place], rng: random.Random) -> Place:
    at = rng.random() * sum(each.weight for each in places)
    for each in places:
        at -= each.weight
        if at < 0:
            return each
    return places[-1]
