"""What the audit log is made of, as it is kept, and what rooms ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

NameField = Literal["actor", "subject", "user"]
"""Where a name stands in a leaf."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done. `actor` did it to `subject`; `user` is the person that it is about, if any.

    These three may name people, so the leaf holds only commitments to them. `detail` is kept as it is and can
    never be taken out again: no name of a person, no text of a call, no secret.
    """

    action: str
    actor: str
    subject: str
    detail: Mapping[str, Any]
    at: datetime
    user: str | None = None


class LeafRow(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf. `content` is the JSON text that is hashed; `root`, in hex, is the tree's with this leaf its
    last. `at` (ISO 8601) and `action` say again what stands in `content`, to be looked for."""

    number: int
    at: str
    action: str
    content: str
    root: str


class NameRow(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a leaf commits to, with the salt (hex) of the commitment. Erasing a person deletes
    these."""

    leaf: int
    field: NameField
    salt: str
    name: str


class HeadRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log stands: its size, its root in hex, when the last leaf came (ISO 8601), the signature over
    these (`governance.checkpoint`), and the tree's peaks, in hex and one after the other, to go on from."""

    size: int
    root: str
    at: str
    signature: str
    peaks: str


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What a new entry adds: leaves (the very first brings another before it), names, and the head after."""

    leaves: tuple[LeafRow, ...]
    names: tuple[NameRow, ...]
    head: HeadRow


class Seal(Protocol):
    """Makes the next leaf: pure, so that it can be called within a transaction."""

    def __call__(self, head: HeadRow | None, entry: AuditEntry) -> Sealed:
        """The rows that `entry` adds after `head`; None is the head of an empty log."""


class NamedLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf and the names that are still known of it."""

    leaf: LeafRow
    names: tuple[NameRow, ...]


class PlanTexts(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as it is kept beside the log: JSON, and the configuration that it was made of."""

    content: str
    config: str


class KeptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger that leaves tell of. Of a key `name` and `content`; of a release its digest as
    `name`, `content` and `plan`, the first that served it; of where a deployment stands its `name` and
    `content`; of a rollout its id as `name`, `state` (`live` or `over`), its deployment as `of`, and
    `content`; of a verdict `number`, its rollout's id as `name` and `content`; of a dataset `name` and its
    digest as `content`; of a job its id as `name`, its kind as `of` and what it is to do as `content`; of
    what waits for approval `number`, `state` and `content`; of an erasure `number`, `state`, the digest of
    who it is as `name` and the time until which they are forgotten as `content`."""

    name: str = ""
    number: int = 0
    state: str = ""
    of: str = ""
    content: str = ""
    plan: int | None = None


class LedgerRows(Protocol):
    """What the ledger kept beside the log, at the same moment."""

    def plan(self, number: int) -> PlanTexts | None:
        """The plan of this number."""

    def plans(self) -> Iterator[KeptRow]:
        """Every plan's number, and when it was made as `content`."""

    def api_keys(self) -> Iterator[KeptRow]:
        """Every key, by name."""

    def releases(self) -> Iterator[KeptRow]:
        """Every release, by its first plan."""

    def standings(self) -> Iterator[KeptRow]:
        """Where each deployment stands that was ever published."""

    def rollouts(self) -> Iterator[KeptRow]:
        """Every rollout."""

    def verdicts(self) -> Iterator[KeptRow]:
        """Every verdict, the oldest first."""

    def datasets(self) -> Iterator[KeptRow]:
        """Every dataset."""

    def jobs(self) -> Iterator[KeptRow]:
        """Every job."""

    def proposals(self) -> Iterator[KeptRow]:
        """Everything that waits, or waited, for approval."""

    def erasures(self) -> Iterator[KeptRow]:
        """Every tombstone."""


class AuditData(Protocol):
    """The whole log as it was at one moment."""

    head: HeadRow | None
    heads: int
    """How many heads there are: one, or none of an empty log."""
    strays: Sequence[int]
    """Numbers that names are kept for and no leaf is."""
    gone: Sequence[str]
    """Tables of the log that are not there; if any is, there is nothing else to read."""

    def leaves(self) -> Iterator[NamedLeaf]:
        """Every leaf, by number."""

    def page(self, after: int, limit: int) -> Sequence[NamedLeaf]:
        """At most `limit` leaves with larger numbers than `after`, by number."""


class WholeLog(AuditData, LedgerRows, Protocol):
    """The log, and what it tells of."""


class AuditLog(Protocol):
    """Appends and reads. Raises SetupError if the database cannot be used."""

    def append(
        self,
        action: str,
        *,
        actor: str,
        subject: str,
        detail: Mapping[str, Any],
        at: datetime,
        user: str | None = None,
    ) -> int:
        """Add a leaf, on disk when this returns; returns its number. As in `AuditEntry`: `detail` names no
        person; of one over 16 KiB its length and digest are kept. Raises ValueError for a detail that is no
        JSON."""

    def forget(
        self, name: str, *, action: str, actor: str, subject: str, detail: Mapping[str, Any], at: datetime
    ) -> int:
        """Delete every name kept that is exactly this one, and add a leaf that says which those were, in one
        transaction; returns how many. The log stays valid."""

    def newest(
        self,
        *,
        limit: int,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
    ) -> Sequence[NamedLeaf]:
        """The newest leaves first: of this action, from then on, before then, and with a smaller number."""

    def whole(self) -> AbstractContextManager[WholeLog]:
        """The log as it is now, with the rows that it tells of, to be read to its end within the block."""

    def plan(self, number: int) -> PlanTexts | None:
        """The plan of this number as it is kept, if it is."""

    def key_text(self, name: str) -> str | None:
        """The key of this name as it is kept, if it is."""

    def close(self) -> None:
        """Give back connections. The log is not used after."""
