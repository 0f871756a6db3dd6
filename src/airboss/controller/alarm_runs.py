"""Alarms that make something so often and go by what came of it: probes of bias, and evaluations.

The id of a run is kept before the run is begun, and to begin one that is there changes nothing: a controller
that is killed in between makes it once, and loses none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

import msgspec

from airboss.controller.alarms import Reading
from airboss.domain.errors import Unavailable, WrongCall
from airboss.store.alert_rows import AlarmRule
from airboss.store.alert_runs import EvalOutcome, ProbeOutcome, Runs

AGAIN: Final = timedelta(minutes=5)
"""After so long what could not be begun is tried again: what was lacking may be there."""

WORDS_MAX: Final = 300

T = TypeVar("T", ProbeOutcome, EvalOutcome)
Made_co = TypeVar("Made_co", covariant=True)


class Making(Protocol[Made_co]):
    """Makes runs of one kind."""

    def start(self, rule: AlarmRule, *, job_id: str, run: int, baseline: str | None) -> None:
        """Queue a run under this id, unless it is there; `run` counts those of the alarm, `baseline` is the
        one to hold it to. Raises WrongCall."""

    def outcome(self, job_id: str) -> Made_co | None:
        """How it ended; None while it has not."""

    def cancel(self, job_id: str) -> None:
        """End it, if it has not ended: nobody asks for it any more."""


def probed(rule: AlarmRule, memory: object, now: datetime, making: Making[ProbeOutcome]) -> Reading:
    """How many differences the last probe found."""
    kept = None if memory is None else msgspec.convert(memory, Runs[ProbeOutcome])
    kept = _gone_on(rule, kept, now, making, lambda words: ProbeOutcome(differences=None, words=words))
    plain = msgspec.to_builtins(kept)
    if kept.last is None:
        return Reading(why="the first probe has not ended", memory=plain)
    found = kept.last.differences
    if found is None:
        return Reading(why=kept.last.words, memory=plain)
    return Reading(value=float(found), bound=0.0, broken=found > 0, detail=kept.last.words, memory=plain)


def evaluated(rule: AlarmRule, memory: object, now: datetime, making: Making[EvalOutcome]) -> Reading:
    """What the last evaluation scored, beside the rule's bound or its baseline."""
    kept = None if memory is None else msgspec.convert(memory, Runs[EvalOutcome])
    kept = _gone_on(rule, kept, now, making, lambda words: EvalOutcome(mean=None, words=words))
    last = kept.last
    if last is not None and last.baseline is not None:
        kept = msgspec.structs.replace(kept, baseline=last.baseline)
    plain = msgspec.to_builtins(kept)
    if last is None:
        return Reading(why="the first evaluation has not ended", memory=plain)
    if last.mean is None:
        return Reading(why=last.words, memory=plain)
    if not rule.by_baseline:
        return Reading(value=last.mean, detail=last.words, memory=plain)
    before = last.mean if last.before is None else last.before
    return Reading(value=last.mean, bound=before, broken=bool(last.worse), detail=last.words, memory=plain)


def _gone_on(
    rule: AlarmRule, kept: Runs[T] | None, now: datetime, making: Making[T], none: Callable[[str], T]
) -> Runs[T]:
    """The runs after one look: one that has ended is known, one that is planned is begun, and one that is due
    is planned. `none` is the outcome of one that could not be begun."""
    if kept is not None and kept.job is not None and kept.begun:
        ended = making.outcome(kept.job)
        return kept if ended is None else msgspec.structs.replace(kept, job=None, last=ended)
    if kept is not None and kept.job is not None:
        try:
            making.start(rule, job_id=kept.job, run=kept.run, baseline=kept.baseline)
        except (WrongCall, Unavailable) as error:
            last = none(str(error)[:WORDS_MAX])
            return msgspec.structs.replace(kept, job=None, last=last, begun=True, refused=True)
        return msgspec.structs.replace(kept, begun=True)
    if kept is None:
        return Runs(run=0, job=_drawn(rule), at=now, begun=False)
    due = kept.at + (AGAIN if kept.refused else timedelta(seconds=rule.every_s))
    if now < due:
        return kept
    return msgspec.structs.replace(
        kept, run=kept.run + 1, job=_drawn(rule), at=now, begun=False, refused=False
    )


def _drawn(rule: AlarmRule) -> str:
    """An id that no job has, as its store would draw it."""
    return f"{rule.kind}-{secrets.token_hex(5)}"
