"""Which answers a person is given to judge: drawn by chance, or those that teach most about a judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

from airboss.domain.ports import RecordFilter, RecordLog
from airboss.domain.score import Score, as_number, latest
from airboss.evaluations.from_records import OWN_KEY
from airboss.store.opinions import REVIEWS

Mode = Literal["random", "unsure", "lowest"]
"""By chance; or those of a judge's scores that are nearest to its middle, or lowest."""

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
SIZE_MAX: Final = 500
CANDIDATES: Final = 2_000
"""Of the records that match, in an order of chance, so many are looked at."""

MIDDLE: Final = 0.5


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """What `by` is to judge under `name`: `size` answers of those that match. The same draw gives the same
    answers, also while they are being judged: `begun` is when the first of it was, and what was judged since
    stays in it. `judge` is whose scores `unsure` and `lowest` go by."""

    where: RecordFilter
    by: str
    name: str
    size: int
    begun: datetime
    seed: int = 0
    mode: Mode = "random"
    judge: str | None = None


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the records, in order, and what this person has said of them since the draw began."""

    ids: tuple[str, ...]
    said: dict[str, Score]


def draw(log: RecordLog, asked: Draw) -> Drawn:
    """The answers to judge. Raises StoreUnavailable, and ValueError for a condition that is none.

    By chance, only what chance gave to this person before is left out: were others' finds left out too, the
    rest would no longer be a random sample. In the other modes all that they judged before is.
    """
    where = msgspec.structs.replace(asked.where, sort="shuffled", seed=asked.seed)
    found = log.records(where, limit=CANDIDATES, bodies=False)
    ids = [each.id for each in found if each.key != OWN_KEY]
    scores: defaultdict[str, list[Score]] = defaultdict(list)
    for score in log.scores_of(ids) if ids else ():
        scores[score.subject_id].append(score)
    left: list[str] = []
    said: dict[str, Score] = {}
    for each in ids:
        mine = [
            score
            for score in scores[each]
            if score.source in REVIEWS and (score.by, score.name) == (asked.by, asked.name)
        ]
        before = [score for score in mine if score.at < asked.begun]
        if any(score.source == "sample" or asked.mode != "random" for score in before):
            continue
        left.append(each)
        if len(mine) > len(before):
            said[each] = mine[-1]
    chosen = ordered(left, scores, asked)[: asked.size]
    return Drawn(ids=tuple(chosen), said={each: said[each] for each in chosen if each in said})


def ordered(ids: Sequence[str], scores: dict[str, list[Score]], asked: Draw) -> list[str]:
    """The ids as the mode has them; those without a number of the judge's come in neither of its two."""
    if asked.mode == "random":
        return list(ids)
    values: dict[str, float] = {}
    for each in ids:
        own = [score for score in scores[each] if score.source == "scorer" and score.name == asked.judge]
        number = as_number(latest(own).get(asked.judge or ""))
        if number is not None:
            values[each] = number
    if asked.mode == "unsure":
        return sorted(values, key=lambda each: abs(values[each] - MIDDLE))
    return sorted(values, key=lambda each: values[each])
