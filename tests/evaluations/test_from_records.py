"""Datasets from records."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.evaluations.datasets import dataset
from airboss.evaluations.from_records import Approved, from_records, gather
from airboss.gateway.splice import DEPTH_MAX, too_deep
from airboss.store.memory import MemoryRecordLog
from tests.evaluations.support import NOW


def record(id: str, text: str = "Hi", reply: str | None = "Hello", **given: Any) -> InferenceRecord:
    """The record of an answered chat call."""
    fields: dict[str, Any] = {
        "started_at": NOW,
        "deployment": "d",
        "release": "r",
        "arm": "stable",
        "plan": 1,
        "model": "m",
        "provider": "p",
        "key": "k",
        "user": None,
        "session": None,
        "operation": "chat",
        "stream": False,
        "status": "ok",
        "error_type": None,
        "finish_reason": "stop",
        "input_tokens": 1,
        "output_tokens": 1,
        "cached_input_tokens": None,
        "reasoning_tokens": None,
        "usage_estimated": False,
        "cost_usd": Decimal(0),
        "latency_ms": 1.0,
        "ttft_ms": None,
        "overhead_ms": 0.1,
        "output_chars": 5,
        "attempts": (),
        "cache": None,
        "policy": (),
        "tags": {},
        "scores": {},
        "trace_id": None,
        "request": {
            "model": "gpt-4o",
            "temperature": 0.3,
            "messages": [{"role": "user", "content": text}],
        },
        "response": {"choices": [{"message": {"role": "assistant", "content": reply}}]},
    }
    return InferenceRecord(id=id, **(fields | given))


def test_a_record_becomes_an_item() -> None:
    """It asks what the caller asked, without what belongs to the release, and says where it came from."""
    request = {
        "model": "gpt-4o",
        "temperature": 0.3,
        "user": "ann",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function"}],
        "prompt_variables": {"tone": "dry"},
    }
    found = from_records([record("1", user="ann", tags={"b": "2", "a": "1"}, request=request)])
    (item,) = found.items
    assert (item.id, item.record, item.user, item.group) == ("1", "1", "ann", "ann")
    assert item.input.messages == ({"role": "user", "content": "Hi"},)
    assert item.input.params == {"tools": [{"type": "function"}]}
    assert item.input.variables == {"tone": "dry"}
    assert item.tags == ("a=1", "b=2")
    assert item.expected is None


def test_what_cannot_be_asked_again_is_left_out_and_counted() -> None:
    """Failures, other routes and calls without bodies are no items; the causes are told."""
    found = from_records(
        [
            record("1", status="error"),
            record("2", operation="embeddings"),
            record("3", request=None),
            record("4", request={"messages": "odd"}),
            record("5"),
        ]
    )
    assert [item.id for item in found.items] == ["5"]
    assert found.left_out == {
        "ended as error": 1,
        "a call of embeddings, not chat": 1,
        "no messages were kept": 2,
    }


def test_doubles_are_one_item() -> None:
    """The same question is one item: the one with an approved answer, else the newest."""
    approved = Approved(score="helpfulness")
    records = [
        record("3", "same", "so"),
        record("2", "same", "good", scores={"helpfulness": 1.0}),
        record("1", "same", "also good", scores={"helpfulness": 1.0}),
        record("0", "other"),
    ]
    found = from_records(records, approved=approved)
    assert [(item.id, item.expected) for item in found.items] == [("2", "good"), ("0", None)]
    assert found.left_out == {"the same was asked before": 2}
    assert [item.id for item in from_records(records).items] == ["3", "0"]


def test_people_say_what_is_expected() -> None:
    """An answer whose score reaches the bound is expected; with `only` the others are left out."""
    records = [
        record("2", "a", "fine", scores={"stars": 4.0}),
        record("1", "b", "poor", scores={"stars": 2.0}),
        record("0", "c", None, scores={"stars": 5.0}),
    ]
    both = from_records(records, approved=Approved(score="stars", at_least=4))
    assert [item.expected for item in both.items] == ["fine", None, None]
    only = from_records(records, approved=Approved(score="stars", at_least=4, only=True))
    assert [item.id for item in only.items] == ["2"]
    assert only.left_out == {"not approved by stars": 2}


def test_grouping() -> None:
    """Records of one person stay together, or of one conversation, or none do."""
    records = [record("1", "a", user="u", session="s"), record("2", "b", session="s"), record("3", "c")]
    groups = {
        by: [item.group for item in from_records(records, group_by=by).items]
        for by in ("user", "session", "none")
    }
    assert groups == {
        "user": ["u", "s", None],
        "session": ["s", "s", None],
        "none": [None, None, None],
    }


def test_gathering_pages_through_the_log() -> None:
    """All that matches is found, newest first, past the size of a page; the limit counts items."""
    log = MemoryRecordLog()
    records = [
        msgspec.json.encode(
            record(f"{number:06}", f"question {number % 700}", started_at=NOW + timedelta(seconds=number))
        )
        for number in range(1_200)
    ]
    log.apply(JournalMove(segment="s", start=0, end=1, records=tuple(records)))
    found = gather(log, RecordFilter(deployment="d"), limit=5_000)
    assert len(found.items) == 700
    assert found.items[0].id == "001199"
    assert found.left_out == {"the same was asked before": 500}
    assert len(gather(log, RecordFilter(), limit=10).items) == 10
    assert gather(log, RecordFilter(deployment="none"), limit=10).items == ()


def test_other_dialects() -> None:
    """Calls in Anthropic's and OpenAI's other dialect become the items that they would be in chat."""
    asked = [{"role": "user", "content": "Hi"}]
    message = {"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}
    output = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    response = {"object": "response", "status": "completed", "output": [output]}
    found = from_records(
        [
            record("a", request={"model": "m", "max_tokens": 5, "messages": asked}, response=message),
            record("b", request={"model": "m", "input": "Ho"}, response=response),
        ],
        limit=9,
        approved=None,
    )
    assert [list(item.input.messages) for item in found.items] == [asked, [{"role": "user", "content": "Ho"}]]
    liked = from_records(
        [
            record(
                "a",
                request={"model": "m", "max_tokens": 5, "messages": asked},
                response=message,
                scores={"liked": 1.0},
            )
        ],
        limit=9,
        approved=Approved(score="liked"),
    )
    assert [item.expected for item in liked.items] == ["Hello"]


def test_what_builds_on_other_responses_is_left_out() -> None:
    """A response's record has its own input alone, which is not what the model was asked."""
    part = record("a", request={"model": "m", "input": "and?", "previous_response_id": "resp_1"})
    found = from_records([part], limit=9)
    assert (found.items, found.left_out) == ((), {"no messages were kept": 1})


def test_whatever_a_call_may_nest_is_an_item() -> None:
    """One call that is nested as deep as the gateway lets it be costs no dataset."""
    content: object = "Hi"
    for _ in range((DEPTH_MAX - 4) // 2):
        content = [{"type": content}]
    deep = record("a", request={"model": "m", "messages": [{"role": "user", "content": content}]})
    assert not too_deep(msgspec.json.encode(deep.request))
    found = from_records([deep, record("b")])
    assert [item.id for item in found.items] == ["a", "b"]
    assert dataset("d", found.items).sizes()
