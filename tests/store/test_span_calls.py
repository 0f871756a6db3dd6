"""Which spans are model calls of their own."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any

import msgspec

from airboss.store.span_calls import record_ids
from airboss.store.span_rows import TraceSpan
from tests.store.samples import START, call_id
from tests.store.spans import span


def tree(number: int, parent: int | None = None, **fields: Any) -> TraceSpan:
    """Span `number` as a tree has it."""
    whole = span(number, parent, **fields)
    return TraceSpan(**{name: getattr(whole, name) for name in TraceSpan.__struct_fields__})


def counted(*spans: TraceSpan) -> dict[int, int | None]:
    """The record of each call, by numbers; spans in any order say the same."""
    found = record_ids(spans)
    shuffled = list(spans)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert record_ids(shuffled) == found, seed
    numbers = {call_id(each): each for each in range(100)}
    return {numbers[key]: numbers[value] if value is not None else None for key, value in found.items()}


def test_a_call_alone_counts() -> None:
    """Spans of other kinds do not."""
    assert counted(tree(1), tree(2, 1, kind="llm"), tree(3, 1, kind="tool")) == {2: 2}


def test_the_innermost_counts() -> None:
    """A framework's span around those of the client's, tried twice, is not a third call."""
    chain = tree(1, kind="llm"), tree(2, 1), tree(3, 2, kind="llm"), tree(4, 2, kind="llm")
    assert counted(*chain) == {1: None, 3: 3, 4: 4}


def test_a_call_of_the_gateway_takes_the_span_above_it() -> None:
    """With spans between the two or without, under a framework's span too."""
    for way in ((tree(3, 2, gateway=True, kind="llm"),), (tree(5, 2), tree(3, 5, gateway=True, kind="llm"))):
        assert counted(tree(1, kind="llm"), tree(2, 1, kind="llm"), *way) == {1: None, 2: 3, 3: 3}


def test_a_call_whose_parent_is_not_there_takes_what_was_under_way() -> None:
    """One span at most, the innermost; one that began later, or was over, is another call."""
    ours = tree(10, 77, gateway=True, kind="llm")
    long: dict[str, Any] = {"kind": "llm", "duration_ms": 60_000.0}
    assert counted(tree(1, **long), tree(2, **long), tree(3, kind="llm"), tree(11, **long), ours) == {
        1: 1,
        2: 10,
        3: 3,
        11: 11,
        10: 10,
    }


def test_a_call_without_a_span_takes_none() -> None:
    """Where all above it is there and tells of no model call, a call beside it is another one."""
    ours = tree(10, 1, gateway=True, kind="llm")
    assert counted(tree(1), tree(2, 1, kind="llm", duration_ms=60_000.0), ours) == {2: 2, 10: 10}
    alone = msgspec.structs.replace(ours, parent_id=None)
    assert counted(tree(2, kind="llm", duration_ms=60_000.0), alone) == {2: 2, 10: 10}


def test_circles_and_repeated_ids_end() -> None:
    """Parents that go round, a span that is its own parent, two spans of one id."""
    round_ = [tree(1, 3, kind="llm"), tree(2, 1), tree(3, 2, kind="llm"), tree(4, 4, kind="llm")]
    found = record_ids(round_)
    assert set(found) == {call_id(1), call_id(3), call_id(4)}
    twin = msgspec.structs.replace(tree(5, 1, kind="llm"), span_id=round_[0].span_id)
    assert set(record_ids([*round_, twin, tree(6, 5, gateway=True)])) >= {call_id(5), call_id(6)}


def test_long_chains_are_quick() -> None:
    """50,000 spans, each below the last, all of them calls, with calls of the gateway below: no n² steps."""
    many = [
        msgspec.structs.replace(
            tree(1, kind="llm" if number % 2 else "other", gateway=number % 4 == 0),
            id=f"{number:08}",
            span_id=f"{number:016x}",
            parent_id=f"{number - 1:016x}",
            started_at=START + timedelta(milliseconds=number),
        )
        for number in range(50_000)
    ]
    began = time.process_time()
    assert len(record_ids(many)) > 20_000
    assert len(record_ids(many[::-1])) > 20_000
    assert time.process_time() - began < 5.0
