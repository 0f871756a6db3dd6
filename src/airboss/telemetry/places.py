"""Which places of models are shut, and which are out: read from what gateways share of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from airboss.telemetry.metrics import BREAKERS, OUT_S, Counts, Limited, ShownPlace, TargetUse


def shut_places(counts: Iterable[Counts]) -> dict[ShownPlace, str]:
    """The places where no worker that knows them lets calls through, each with its newest failure."""
    found: dict[ShownPlace, list[tuple[TargetUse, datetime]]] = {}
    for each in counts:
        for use in each.targets:
            found.setdefault((use.provider, use.model, use.url, use.key), []).append((use, each.written_at))
    return {
        place: next((use.last_error for use, _ in uses if use.last_error), "")
        for place, uses in found.items()
        if all(shut(use, at) for use, at in uses)
    }


def shut(use: TargetUse, at: datetime) -> bool:
    """Whether a worker had not heard of a place by then that it is back. A half open breaker's place is not
    until its probe has come back well; one that nobody has asked since it failed a while ago, who knows."""
    match BREAKERS[use.state]:
        case "closed":
            return False
        case "open":
            return True
    lately = use.failed_at is not None and (at - use.failed_at).total_seconds() < OUT_S
    return lately or use.outstanding > 0


class Out(NamedTuple):
    """Since when a place is out, and by which limit, if it is one."""

    since: datetime
    limited: Limited | None = None


def places_out(counts: Iterable[Counts]) -> dict[ShownPlace, Out]:
    """The places that are out: a worker has tried one again in vain for OUT_S and more, and none has been
    answered there since it failed that worker last; at a limit, which is all workers' together, for OUT_S
    before that. A place that failed for a moment, and was asked by nobody after, is none: who knows how it
    is."""
    found: dict[ShownPlace, list[TargetUse]] = {}
    for use in (use for each in counts for use in each.targets):
        found.setdefault((use.provider, use.model, use.url, use.key), []).append(use)
    out: dict[ShownPlace, Out] = {}
    for place, uses in found.items():
        answered = max((use.answered_at for use in uses if use.answered_at is not None), default=None)
        for use in uses:
            began, failed = use.in_vain_at, use.failed_at
            if began is None or failed is None:
                continue
            if use.limited and answered is not None:
                began = max(began, answered)
            if (failed - began).total_seconds() < OUT_S or (answered is not None and answered >= failed):
                continue
            if place not in out or began < out[place].since:
                out[place] = Out(began, use.limited)
    return out
