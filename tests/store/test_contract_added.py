"""Records that are added to datasets by their ids, whichever log has them."""

from __future__ import annotations

import msgspec
import pytest

from airboss.domain.errors import NotFound, WrongCall
from airboss.domain.ports import RecordLog
from airboss.evaluations.from_records import Approved, picked
from tests.store.samples import call_id, move_of
from tests.store.test_contract_scores import score

LOGS = ("memory", "client", "clickhouse", "sealed duckdb", "sealed clickhouse")


def body(value: object) -> msgspec.Raw:
    """The body of a call."""
    return msgspec.Raw(msgspec.json.encode(value))


ASKED = {"request": body({"messages": [{"role": "user", "content": "why?"}]}), "user": "ann", "session": "s"}
ANSWER = body({"choices": [{"message": {"role": "assistant", "content": "so"}}]})


@pytest.mark.words
def test_records_are_found_by_their_ids(record_log: RecordLog) -> None:
    """Each with its question, its user and its session, in the order in which they were named. An id that
    nothing has is named, and so is a call that no item can be made of, with the cause."""
    record_log.apply(
        move_of(
            [
                {**ASKED, "response": ANSWER},
                ASKED,
                {**ASKED, "status": "error", "error_type": "interrupted"},
                {"request": None},
                {**ASKED, "operation": "embeddings"},
            ]
        )
    )
    record_log.put_scores([score(1, 0, 1.0, name="golden")])
    one, two, cut, empty, vectors = (call_id(each) for each in range(5))
    found = picked(record_log, [two, one], approved=Approved(score="golden"))
    assert [each.id for each in found.items] == [two, one]
    assert [each.expected for each in found.items] == [None, "so"]
    assert [each.input.messages[0]["content"] for each in found.items] == ["why?", "why?"]
    assert [(each.user, each.group) for each in found.items] == [("ann", "ann")] * 2
    assert found.sessions == {one: "s", two: "s"}
    with pytest.raises(NotFound, match=f"no record {call_id(9)}, nix; a call appears within seconds"):
        picked(record_log, [one, call_id(9), "nix", cut])
    with pytest.raises(NotFound, match=f"no record {one}; "):
        picked(record_log, [one, empty], without=lambda record: record.user == "ann")
    causes = (
        f"{cut} .ended as error., {empty} .no messages were kept., {vectors} .a call of embeddings, not chat."
    )
    with pytest.raises(WrongCall, match=f"no item can be made of record {causes}: it takes a chat call"):
        picked(record_log, [one, cut, empty, vectors])
