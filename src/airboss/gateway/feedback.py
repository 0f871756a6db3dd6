"""`POST /v1/feedback`: what a person thinks of a call, into the journal.

Nobody is asked whether the call has a record: it may not have been moved yet. The record log attaches
feedback to its record when both are there and of one key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from airboss.domain.errors import BodyTooLarge, InvalidRequest
from airboss.domain.release import Policy
from airboss.domain.score import Score
from airboss.gateway.http1 import Connection
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.wire import refuse_repeated
from airboss.gateway.worker import Worker
from airboss.store.opinions import (
    COMMENT_CHARS_MAX,
    CORRECTED,
    CORRECTION,
    CORRECTION_CHARS_MAX,
    check_name,
    check_text,
    check_value,
    said_right,
)
from airboss.store.usage import LABEL_CHARS_MAX

BODY_BYTES_MAX: Final = 512 * 1024
"""Texts of the most characters fit, also where each of these is written in 12 bytes."""
AHEAD_MAX: Final = timedelta(hours=1)
"""By how much clocks of our workers may differ: an id made later than that is not ours."""

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_encode = msgspec.json.Encoder().encode


class FeedbackBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent. `value` is a number, a yes or no, or a label, `correction` what would have been right."""

    record_id: str
    name: str
    value: float | bool | str
    comment: str | None = None
    user: str | None = None
    correction: str | None = None


_bodies: Final = msgspec.json.Decoder(FeedbackBody)


async def feedback(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Take one opinion: 202 with its id once it is in the journal. Raises ApiError.

    The same again is a second opinion, with an id of its own. So is a correction beside it, named as that of
    a person of the house; it is kept also with bodies off, as a comment is.
    """
    serving = worker.view()
    principal = serving.authenticate(http.headers)
    now = worker.clock.now()
    given = read_feedback(http.body, now)
    policies = serving.policies(principal)
    value, comment, correction = given.value, given.comment or None, said_right(given.correction)
    if policies:
        value = await _said(worker, value, policies) if isinstance(value, str) else value
        comment = await _said(worker, comment, policies) if comment is not None else None
        correction = await _said(worker, correction, policies) if correction is not None else None
    at_ms = int(now.timestamp() * 1000)
    score = Score(
        id=worker.ids.next(at_ms),
        subject="record",
        subject_id=given.record_id.lower(),
        name=given.name,
        source="human",
        by=principal.key,
        at=now,
        value=value,
        comment=comment,
        user=given.user or None,
    )
    scores = [score]
    if correction is not None:
        id = worker.ids.next(at_ms)
        scores.append(replace(score, id=id, name=CORRECTION, value=CORRECTED, comment=correction))
    worker.journal.score(*(serving.redactor.redact(_encode(each)) for each in scores))
    head = b"content-type: application/json\r\nx-request-id: %s\r\n" % score.id.encode()
    client.respond(202, head, b'{"id":"%s"}' % score.id.encode())


async def _said(worker: Worker, text: str, policies: Sequence[Policy]) -> str:
    """A text as policies let it stand. Which of them the record is under, nobody knows here: all count.
    Raises Unavailable."""
    from airboss.gateway.screened import masked  # noqa: PLC0415 - 17 MB that only policies need

    return await masked(worker, policies, text)


def read_feedback(body: bytes, now: datetime) -> FeedbackBody:
    """A body, read and checked. Raises InvalidRequest, BodyTooLarge."""
    if len(body) > BODY_BYTES_MAX:
        raise BodyTooLarge(f"feedback of {len(body)} bytes; at most {BODY_BYTES_MAX} are taken")
    try:
        given = _bodies.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            'the body is not {"record_id": "<x-request-id>", "name": "helpfulness", "value": 1}, with '
            f"'comment', 'user' and 'correction' if you like: {error}"
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    refuse_repeated(body)
    _check_record_id(given.record_id, now)
    check_name(given.name)
    check_value(given.value)
    check_text("comment", given.comment, COMMENT_CHARS_MAX)
    check_text("user", given.user, LABEL_CHARS_MAX)
    check_text("correction", given.correction, CORRECTION_CHARS_MAX)
    if given.name == CORRECTION and said_right(given.correction) is not None:
        raise InvalidRequest(
            f"{CORRECTION!r} is where what would have been right is kept: give another name beside it, such "
            "as 'edited'",
            param="name",
        )
    return given


def _check_record_id(record_id: str, now: datetime) -> None:
    """Refuse what is no id of ours: we know their shape, and the time that stands in them."""
    text = record_id.lower()
    ours = _UUID7.fullmatch(text) is not None
    if ours:
        latest = (now + AHEAD_MAX).timestamp() * 1000
        ours = int(text[:8] + text[9:13], 16) <= latest
    if not ours:
        raise InvalidRequest(
            f"'record_id' is {record_id[:80]!r}, which no call here can have; send the header "
            "'x-request-id' of the response that is judged, not the id in its body",
            param="record_id",
        )
