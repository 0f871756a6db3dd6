"""The end of calls that were answered in one turn of the loop."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from airboss.domain.record import ClosedCall
from airboss.gateway import pipeline
from airboss.gateway.attempts import Dispatched


class Heard:
    """A connection that notes what becomes of it."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def abort(self) -> None:
        """Note it."""
        self.got.append("cut")


def test_one_that_cannot_be_given_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is cut, which its client notices; the others of the turn get their answers."""
    heard = [Heard(), Heard(), Heard()]

    def deliver(client: Any, *_: object) -> None:
        if client is heard[1]:
            raise ValueError("a defect of ours")
        client.got.append("answer")

    def close_answered(*_: object) -> ClosedCall:
        return ClosedCall("id", "ok", 1.0, 0.1)

    monkeypatch.setattr(pipeline, "deliver", deliver)
    monkeypatch.setattr(pipeline, "close_answered", close_answered)
    these: Any = [
        (None, None, each, SimpleNamespace(held=None), None, Dispatched(time.perf_counter()), None)
        for each in heard
    ]
    pipeline.conclude(these)
    assert [each.got for each in heard] == [["answer"], ["cut"], ["answer"]]
