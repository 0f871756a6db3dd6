"""What the evaluations' tables hold. `content` and `report` are JSON text that only evaluations reads."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

OpenPart = Literal["train", "validation"]
"""A part of a dataset that may be read without saying why."""

AnyPart = OpenPart | Literal["holdout"]
"""Every part of a dataset."""

RunState = Literal["running", "done"]
"""`running`: not finished; if no process works at it, it waits to be resumed."""


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset under a name; `size` counts its items as they were put, erased ones included."""

    name: str
    digest: str
    created_at: datetime
    size: int
    content: str


class ItemRow(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a dataset. `subject` is the digest of what it asks, by which answers to it are found;
    `user` is the person that it came from."""

    id: str
    part: AnyPart
    subject: str
    user: str | None
    content: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many items of a dataset are in each part that has any, and how often its holdout was read."""

    sizes: dict[str, int]
    reads: int


class HoldoutRead(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody read a dataset's holdout."""

    dataset: str
    at: datetime
    who: str
    why: str


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation: what it is to do, and what it found (None until it is done)."""

    id: str
    dataset: str
    created_at: datetime
    state: RunState
    content: str
    report: str | None = None


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to keep under a key. `subject` is as an item's, `user` the person whose words it answers."""

    key: str
    subject: str
    user: str | None
    content: str


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one item, on one side, the `repeat`-th time (from 0). A pair's own result has the arm
    `pair`."""

    run: str
    item: str
    arm: Literal["a", "b", "pair"]
    repeat: int
    subject: str
    content: str
