"""A session as one conversation: its calls in the order they were made, each with what it added."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from airboss.console.conversation import Conversation, Turn, answer_turns, error_text, sent_turns
from airboss.console.desk import Desk
from airboss.console.page import Page, View, asking, current_plan
from airboss.console.reading import note_list
from airboss.console.render import Visit, url
from airboss.dialects.recorded import in_chat
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.ports import RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score

CALLS_MAX = 40
"""Calls on one page, fewer where they are long: the newest first to be read, the oldest first to be shown."""
TURNS_MAX = 30
"""Turns of one call that are shown, the last ones."""
SCORES_MAX = 12


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a session, and what it said that the call before had not."""

    record: InferenceRecord
    talk: Conversation
    repeats: int
    scores: tuple[Score, ...]


def session(desk: Desk, seen: Visit) -> View:
    """The newest calls of a session, or those before one of them."""
    name = seen.params.get("name", "")
    if not name:
        raise InvalidRequest("which session? give its name, as in /session?name=s-1", param="name")
    where = RecordFilter(session=name, before=seen.params.get("before"))
    total = desk.log.count(RecordFilter(session=name))
    if not total:
        raise NotFound(f"no call of session {name[:80]!r} is recorded", param="name")
    note_list(desk, asking(seen), where)
    # As many as a list with bodies holds, which is bounded.
    found = desk.log.records(where, limit=CALLS_MAX, bodies=True)[::-1]
    ids = [each.id for each in found]
    scores = desk.log.scores_of(ids) if ids else ()
    further = msgspec.structs.replace(where, before=ids[0]) if ids else None
    older = desk.log.records(further, limit=1, bodies=False) if further is not None else ()
    costs = [each.cost_usd for each in found if each.cost_usd is not None]
    return View(
        "session.html",
        plan=current_plan(desk),
        of=name,
        total=total,
        calls=told(found, scores),
        errors=sum(each.status == "error" for each in found),
        tokens_in=sum(each.input_tokens or 0 for each in found),
        tokens_out=sum(each.output_tokens or 0 for each in found),
        cost=sum(costs) if costs else None,
        unpriced=len(found) - len(costs),
        users=sorted({each.user for each in found if each.user}),
        older=url("/session", {}, name=name, before=ids[0]) if older else None,
        newer=url("/session", {}, name=name) if where.before else None,
    )


def told(found: Sequence[InferenceRecord], scores: Sequence[Score]) -> list[Told]:
    """Each call with what is new in it: apps send all that was said before once more."""
    calls: list[Told] = []
    before: list[Turn] = []
    for record in found:
        chat = in_chat(record)
        sent, answers = list(sent_turns(chat.request)), list(answer_turns(chat.response))
        repeats = len(before) if before and [plain(each) for each in sent[: len(before)]] == before else 0
        new = sent[repeats:]
        calls.append(
            Told(
                record=record,
                talk=Conversation(
                    head=(),
                    tail=tuple(new[-TURNS_MAX:]),
                    left_out=max(0, len(new) - TURNS_MAX),
                    answers=tuple(answers),
                    error=error_text(chat.response),
                ),
                repeats=repeats,
                scores=tuple(each for each in scores if each.subject_id == record.id)[-SCORES_MAX:],
            )
        )
        before = [plain(each) for each in [*sent, *answers]]
    return calls


def plain(turn: Turn) -> Turn:
    """A turn as it is compared: an answer comes back as a message."""
    return msgspec.structs.replace(turn, answer=False, note=None)


PAGES: tuple[Page, ...] = (
    Page(
        path="/session",
        draw=session,
        params=("name", "before"),
        role="reader",
        room="records",
        under="/records",
        docs="how-to#find-a-call",
    ),
)
"""The pages of this module."""
