"""Scores in the admin API: those of one record, what people of the house say of it, and what scores say
over a period."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from airboss.console.desk import Desk
from airboss.console.reading import note_one
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.ports import RecordFilter, ScoreStats
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score, ScoreSource, ScoreValue
from airboss.store.opinions import (
    COMMENT_CHARS_MAX,
    CORRECTED,
    CORRECTION,
    CORRECTION_CHARS_MAX,
    REVIEWS,
    TAKEN_BACK,
    check_name,
    check_text,
    check_value,
    said_right,
    whose,
)


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Every score of one record, the oldest first; a second opinion is a second score."""

    scores: tuple[Score, ...]


class ScoresAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What scores say of the calls begun in `[since, until)`, by deployment, release and name."""

    since: datetime
    until: datetime
    scores: tuple[ScoreStats, ...]


class Judgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What who asks thinks of a record: a number, a yes or no, or a label; null takes back what they said.
    `sampled`: chance chose the record, not the one who judges. `correction` is what would have been right; it
    replaces what who asks wrote there before, an empty one takes that back."""

    name: str
    value: ScoreValue | None
    comment: str | None = None
    sampled: bool = False
    correction: str | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands now of this reviewer under that name (null: nothing), and what they say would have been
    right, where they do. `others`: where nothing of theirs stands, who has said something under that name."""

    score: Score | None
    correction: Score | None = None
    others: tuple[str, ...] = ()


def scores_of_record(desk: Desk, call: Call) -> Scores:
    """GET /api/v1/records/{id}/scores."""
    found = tuple(desk.log.scores_of([judged_record(desk, call.path["id"]).id]))
    if any(each.comment or each.unscored for each in found):
        note_one(desk, call)
    return Scores(scores=found)


def judged_record(desk: Desk, record_id: str) -> InferenceRecord:
    """The record of this id, without bodies. Raises NotFound, also where it is still in a journal."""
    found = desk.log.records(RecordFilter(id=record_id), limit=1, bodies=False)
    if not found:
        message = f"no record {record_id[:80]!r} in the store; a call gets there within seconds of its end"
        waiting = desk.status().journal.unmoved_bytes
        if waiting:
            message += f", and {waiting:,} bytes still wait in journals: try again when they are moved"
        raise NotFound(message, param="id")
    return found[0]


def judge(desk: Desk, call: Call) -> Judged:
    """POST /api/v1/records/{id}/scores. Judging again replaces what the same person said under that name;
    what chance chose once stays so."""
    given = call.intent(Judgement)
    check_judgement(given)
    record = judged_record(desk, call.path["id"])
    before = said_before(desk, record.id, call.actor)
    forgotten = desk.people.tombstones().covers(record.user, record.started_at)
    made = judgements(desk, call, given, record, before, wordless=forgotten)
    if not made:
        return stood(desk, record.id, given.name, before)
    # Before it is stored: whatever happens then, and whether or not the store says so, none stands unnoted.
    sampled = any(each.source == "sample" for each in made)
    detail = {"sampled": sampled, "taken_back": given.value is None}
    detail |= {"corrected": True} if made[-1].name == CORRECTION else {}
    desk.note(call, "records.score", f"{given.name} of record {record.id}", detail)
    desk.log.put_scores(made)
    take_out(desk, record)
    stands = said_before(desk, record.id, call.actor)
    if given.value is not None and given.name not in stands:
        judged_record(desk, record.id)  # it may have been deleted meanwhile
    return stood(desk, record.id, given.name, stands)


def check_judgement(given: Judgement) -> None:
    """Raise InvalidRequest for what is none."""
    check_name(given.name)
    check_text("comment", given.comment, COMMENT_CHARS_MAX)
    check_text("correction", given.correction, CORRECTION_CHARS_MAX)
    if given.value is not None:
        check_value(given.value)
    if given.name == CORRECTION and (given.value, given.correction) != (None, None):
        raise InvalidRequest(
            f"{CORRECTION!r} is where what would have been right is kept: judge under another name, and give "
            f"that text as {CORRECTION!r} beside it",
            param="name",
        )


def judgements(
    desk: Desk,
    call: Call,
    given: Judgement,
    record: InferenceRecord,
    before: Mapping[str, Score],
    *,
    wordless: bool,
) -> list[Score]:
    """The scores that a judgement is; none where it changes nothing. `before` is what this person has said of
    the record, `wordless` whether no word may be kept of it any more."""

    def score(name: str, value: ScoreValue | None, comment: str | None, source: ScoreSource) -> Score:
        old = before.get(name)
        return Score(
            id=str(uuid.uuid4()),
            subject="record",
            subject_id=record.id,
            name=name,
            source=source if old is None or old.source != "sample" else old.source,
            by=call.actor,
            at=call.now if old is None else max(call.now, old.at + timedelta(microseconds=1)),
            value=desk.redact(value) if isinstance(value, str) else value,
            unscored=TAKEN_BACK if value is None else None,
            comment=desk.redact(comment) if comment and value is not None and not wordless else None,
        )

    made = []
    if given.value is not None or given.name in before:
        source: ScoreSource = "sample" if given.sampled else "review"
        made.append(score(given.name, given.value, given.comment, source))
    right = said_right(given.correction)
    if right is not None and not wordless:
        made.append(score(CORRECTION, CORRECTED, right, "review"))
    elif given.correction is not None and right is None and CORRECTION in before:
        made.append(score(CORRECTION, None, None, "review"))
    return made


def said_before(desk: Desk, record_id: str, by: str) -> dict[str, Score]:
    """What stands of this person's judgements, by name."""
    return {
        each.name: each
        for each in desk.log.scores_of([record_id])
        if each.source in REVIEWS and each.by == by
    }


def stood(desk: Desk, record_id: str, name: str, mine: Mapping[str, Score]) -> Judged:
    """What a judgement is answered with; `mine` is what stands of who judged."""
    others: set[str] = set()
    if name not in mine:
        found = desk.log.scores_of([record_id])
        said = [each for each in found if each.name == name and each.value is not None]
        # Of apps their keys alone: they have users without number.
        others = {whose(msgspec.structs.replace(each, user=None)) for each in said}
    return Judged(score=mine.get(name), correction=mine.get(CORRECTION), others=tuple(sorted(others)))


def take_out(desk: Desk, record: InferenceRecord) -> None:
    """Take out the words of somebody who was forgotten while they were on their way."""
    again = desk.people.tombstones()
    if record.user is None or not again.covers(record.user, record.started_at):
        return
    until = again.until(record.user)
    if until is not None:
        desk.log.erase({record.user: until})


def scores(desk: Desk, call: Call) -> ScoresAnswer:
    """GET /api/v1/scores."""
    period = call.period()
    return ScoresAnswer(
        since=period.since,
        until=period.until,
        scores=tuple(
            each
            for each in desk.log.score_stats(period.since, period.until)
            if call.params.get("deployment") in (None, "", each.deployment)
            and call.params.get("name") in (None, "", each.name)
        ),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/records/{id}/scores",
        summary="Every score of one record",
        handle=scores_of_record,
        role="reader",
    ),
    Route(
        method="POST",
        path="/api/v1/records/{id}/scores",
        summary="What you think of a record; again replaces it, null takes it back",
        role="reader",
        handle=judge,
        body=Judgement,
    ),
    Route(
        method="GET",
        path="/api/v1/scores",
        summary="What scores say of each deployment's releases in a period",
        handle=scores,
        role="viewer",
        params={
            "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
            "until": "before this: RFC 3339, or so long ago; now unless given",
            "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 24h unless given",
            "deployment": "only this one",
            "name": "only scores of this name",
        },
    ),
)
"""Every route about scores."""
