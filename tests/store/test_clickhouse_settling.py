"""Model calls of spans on ClickHouse: each is settled once, whichever step a killed process got to."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest

from airboss.config.clickhouse import read_url
from airboss.domain.ports import JournalMove
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.clickhouse_http import ClickHouse
from tests.store.conftest import Open
from tests.store.samples import START, call_id, closed_json, opened_json
from tests.store.spans import llm, span, span_move
from tests.store.test_clickhouse import Killed, killing
from tests.store.test_contract_messages import LATE, TALK, settled, silent
from tests.store.test_contract_spans import LATER, gateway_call, ids, settle

SOON = START + timedelta(seconds=3)
"""When what was moved at START has waited long enough."""


@pytest.fixture
def log(open_log: Open) -> ClickHouseRecordLog:
    """The log of the process that is killed."""
    return open_log()


def call_of_the_gateway(number: int, parent: int) -> tuple[JournalMove, JournalMove]:
    """The two moves of a call of the gateway below a span, of another worker than the spans."""
    closed = {call_id(number): closed_json(number)}
    return (
        msgspec.structs.replace(gateway_call(number, parent), segment="w/2"),
        JournalMove(segment="w/2", start=100, end=200, closed=closed, moved_at=START),
    )


@pytest.mark.parametrize("at", range(1, 8))
def test_a_move_killed_between_record_and_span_settles_nothing(
    log: ClickHouseRecordLog, open_log: Open, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The client's span waits until the move is whole, and is then known for a call of the gateway: the call
    has one record, whichever insert was the last."""
    opened, ended = call_of_the_gateway(2, 1)
    log.apply(opened)
    log.apply(span_move(llm(1)))
    with monkeypatch.context() as patch:
        killing(patch, at=at, after=True)
        with suppress(Killed):
            log.apply(ended)
    again = open_log()
    if again.begun("w/2"):
        assert again.settle_calls(SOON, limit=9) == 0
        again.apply(ended)
    assert settle(again) == [call_id(2)]


@pytest.mark.parametrize("after", [False, True])
def test_what_was_decided_is_done(open_log: Open, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Killed before or after any insert of a settlement, while a span arrives that would have decided another
    way: every call has the record that was decided, and none has lost it."""
    log, at = open_log(), 0
    log.apply(span_move(span(1), llm(3, 1), llm(4, 3)))
    while True:
        at += 1
        assert at < 12
        with monkeypatch.context() as patch:
            killing(patch, at=at, after=after)
            try:
                log.settle_calls(LATER, limit=9)
            except Killed:
                log = open_log()
                if at == 2:  # a call below the innermost: it would hold that one back now
                    log.apply(span_move(llm(5, 4), start=300))
                continue
        break
    assert at > 4
    assert settle(log) == [call_id(4), call_id(5)]
    assert ids(log) == [call_id(4), call_id(5)]


@pytest.mark.parametrize("after", [False, True])
def test_messages_are_used_once(open_log: Open, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Killed before or after any insert of a move or a settlement: the call has its messages, once."""
    log, at, moved = open_log(), 0, False
    move = span_move(*TALK, silent(1))
    while True:
        at += 1
        assert at < 16
        with monkeypatch.context() as patch:
            killing(patch, at=at, after=after)
            try:
                moved = moved or bool(log.apply(move))
                log.settle_calls(LATE, limit=9)
            except Killed:
                log = open_log()
                continue
        break
    assert at > 4
    (found,) = settled(log)
    assert [each["content"] for each in found.request["messages"]] == ["be kind", "my order 4711"]
    assert log.settle_calls(START + timedelta(days=1), limit=9) == 0


def test_calls_wait_for_no_move_for_ever(
    log: ClickHouseRecordLog, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the journal of a half made move is lost, they are settled some minutes later."""
    opened, ended = call_of_the_gateway(9, 77)
    log.apply(opened)
    log.apply(span_move(llm(1)))
    with monkeypatch.context() as patch:
        killing(patch, at=2, after=True)
        with pytest.raises(Killed):
            log.apply(ended)
    again = open_log()
    assert again.settle_calls(SOON, limit=9) == 0
    assert again.settle_calls(START + timedelta(minutes=11), limit=9) == 1


def test_an_erasure_leaves_nothing_of_what_became_records(log: ClickHouseRecordLog, url: str) -> None:
    """Rows that newer ones have replaced say what was asked: they are gone, and not only out of sight."""
    log.apply(JournalMove(segment="w/1", start=0, end=1, opened={call_id(1): opened_json(1, user="ann")}))
    log.apply(JournalMove(segment="w/1", start=1, end=2, closed={call_id(1): closed_json(1)}))
    log.apply(span_move(llm(2, user="ann"), llm(3)))
    assert settle(log) == [call_id(1), call_id(2), call_id(3)]
    log.apply(span_move(llm(4, trace_id="ab" * 16), start=200))
    log.erase({"ann": LATER})
    server = ClickHouse(read_url(url))
    for table, kept in (("pending", 0), ("waiting_calls", 1)):
        there = f"select count() from {table} settings apply_deleted_mask = 0"
        assert server.rows(there) == [[kept]], table
    server.close()
    assert settle(log)[-1] == call_id(4)
