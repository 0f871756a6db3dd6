"""How many replicas a model should have. Facts in, number and reason out: no clock, no I/O.

The formulas are Knative's pod autoscaler's (KPA; `pkg/autoscaler/scaling/autoscaler.go` and
`config/core/configmaps/autoscaler.yaml` of knative/serving), with concurrency as its metric:

    wanted = ceil(mean calls over the window / (target * slots of a replica))

over a stable window (60 s) and a panic window (a tenth of it: 6 s). Where the panic window wants twice what
is ready, or more, that number is taken at once, and nothing is taken away until the stable window has passed
without another panic. What differs from it, each for a defect seen elsewhere:

- Calls are those running *and* those queued: engines report no more running than they have slots, and would
  never be scaled on that alone.
- Unknown is not zero: a window with a gap decides nothing downwards.
- Going down asks whether the rest can hold: the highest mean of any panic window within the stable window
  must fit the smaller number with SLACK to spare. A load that the larger number was needed for never does, so
  that a steady load cannot make the number go up and down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

PANIC_SHARE = 0.1
"""The panic window, as a share of the stable window (KPA: `panic-window-percentage` 10)."""
PANIC_LEAST_S = 2.0
"""A panic window has a few samples, however short the stable window."""
PANIC_RATIO = 2.0
"""So many times what is ready, and it is a panic (KPA: `panic-threshold-percentage` 200)."""
DOWN_RATE = 2.0
"""At once, no more than half is taken away (KPA: `max-scale-down-rate` 2)."""
SLACK = 0.1
"""The share of the smaller number's target that must stay free after going down."""


class Load(msgspec.Struct, frozen=True):
    """Calls at one replica at one moment: `running` in its slots, `queued` for one."""

    running: int
    queued: int


class Sample(msgspec.Struct, frozen=True):
    """All replicas of a model at one moment; `at` is in seconds, of any clock that never steps back.
    `loads` None: it is not known."""

    at: float
    loads: tuple[Load, ...] | None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """`slots` are of one replica, of which the share `target` (0 to 1) should be busy; 1 <= min <= max."""

    min: int
    max: int
    slots: int
    target: float = 0.7
    window_s: float = 60.0

    @property
    def panic_s(self) -> float:
        """The length of the panic window in seconds."""
        return min(self.window_s, max(PANIC_LEAST_S, self.window_s * PANIC_SHARE))

    @property
    def calls(self) -> float:
        """How many calls at once one replica should have."""
        return self.target * self.slots

    def within(self, number: int) -> int:
        """The nearest number that the rules allow."""
        return min(self.max, max(self.min, number))


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`wanted` is the number in force since `held_s` seconds, `ready` how many of them can answer now.
    `panic_until` is what the last decision said, on the samples' clock."""

    now: float
    wanted: int
    ready: int
    held_s: float
    panic_until: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """So many from now on, because of `reason`; `panic_until` goes into the next facts."""

    wanted: int
    reason: str
    panic_until: float | None = None


def decide(rules: Rules, samples: Sequence[Sample], facts: Facts) -> Decision:
    """The number of replicas from now on; `rules.min <= wanted <= rules.max`.

    `samples` are in order of time; those older than the stable window are passed over. What changes nothing
    has the reason "steady" or says what keeps the number. Never raises.
    """
    held = rules.within(facts.wanted)
    if held != facts.wanted:
        bound = "min" if held > facts.wanted else "max"
        return Decision(wanted=held, reason=f"{bound} is {held}", panic_until=facts.panic_until)
    window = [each for each in samples if facts.now - rules.window_s <= each.at <= facts.now]
    stable = mean(window)
    panic = mean([each for each in window if each.at > facts.now - rules.panic_s])
    if stable is None or panic is None:
        return Decision(wanted=held, reason="the load is not known", panic_until=facts.panic_until)
    panic_until = facts.panic_until
    urgent = math.ceil(panic / rules.calls)
    if urgent >= PANIC_RATIO * max(1, facts.ready) and covers(window, facts.now, rules.panic_s, rules):
        panic_until = facts.now + rules.window_s
    panicking = panic_until is not None and facts.now < panic_until
    needed = math.ceil(stable / rules.calls)
    if panicking:
        needed = max(needed, urgent)
    up = rules.within(needed)
    if up > held:
        over_s, load = (rules.panic_s, panic) if panicking and urgent == needed else (rules.window_s, stable)
        return Decision(wanted=up, reason=_load(load, over_s, rules), panic_until=panic_until)
    if panicking:
        return Decision(wanted=held, reason="a burst is under way", panic_until=panic_until)
    return _down(rules, window, facts, held)


def mean(samples: Sequence[Sample]) -> float | None:
    """Calls at once, on average over the samples that are known; None if none is."""
    known = [calls(each) for each in samples if each.loads is not None]
    return sum(known) / len(known) if known else None


def calls(sample: Sample) -> int:
    """Calls at all replicas together."""
    return sum(each.running + each.queued for each in sample.loads or ())


def covers(samples: Sequence[Sample], now: float, length_s: float, rules: Rules) -> bool:
    """Whether samples that are known lie close enough to speak for the last `length_s` seconds: no gap is
    longer than the panic window."""
    gap_s = rules.panic_s if length_s > rules.panic_s else rules.panic_s / 2
    times = [now - length_s, *(each.at for each in samples if each.loads is not None), now]
    times = [at for at in times if at >= now - length_s]
    return all(later - earlier <= gap_s for earlier, later in pairwise(times))


def peak(samples: Sequence[Sample], length_s: float) -> float:
    """The highest mean of any stretch of `length_s` seconds; 0 without a sample."""
    known = [each for each in samples if each.loads is not None]
    highest, total, first = 0.0, 0, 0
    for last, sample in enumerate(known):
        total += calls(sample)
        while sample.at - known[first].at >= length_s:
            total -= calls(known[first])
            first += 1
        highest = max(highest, total / (last - first + 1))
    return highest


def _down(rules: Rules, window: Sequence[Sample], facts: Facts, held: int) -> Decision:
    load = peak(window, rules.panic_s)
    fits = math.ceil(load / (rules.calls * (1 - SLACK)))
    fewer = rules.within(max(fits, math.ceil(held / DOWN_RATE)))
    if fewer >= held:
        return Decision(wanted=held, reason="steady")
    if facts.held_s < rules.window_s:
        why = f"{held} for {facts.held_s:.0f} s, of at least {rules.window_s:g}"
        return Decision(wanted=held, reason=why)
    if not covers(window, facts.now, rules.window_s, rules):
        return Decision(wanted=held, reason="the load is not known for long enough")
    return Decision(wanted=fewer, reason=f"at most {_load(load, rules.window_s, rules)}")


def _load(load: float, over_s: float, rules: Rules) -> str:
    return f"{load:.1f} calls at once in the last {over_s:g} s, for {rules.calls:.1f} a replica"
