"""Datasets kept in the store, with their holdouts under lock."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.adding import Joined, change, join
from airboss.evaluations.datasets import (
    PARTS,
    Dataset,
    HoldoutLocked,
    Item,
    Part,
    Shares,
    input_digest,
    part_of,
)
from airboss.evaluations.ports import EvalStore
from airboss.evaluations.splits import Drawn, Uneven, uneven
from airboss.store.eval_rows import DatasetRow, HoldoutRead, ItemRow, Tally
from airboss.store.wording import listed


class KeptDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in the store. `sizes` counts the items of each part; `erased` those that were there once."""

    name: str
    digest: str
    created_at: datetime
    shares: Shares
    sizes: dict[str, int]
    erased: int
    holdout_reads: int


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """An opened holdout. `reads_before` is how often it had been read: a judgement rests on it most firmly
    where that is 0."""

    items: tuple[Item, ...]
    reads_before: int


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset after something was added to it or changed: `added` are the items that are new or new in this
    form; `erased` counts those that were in just this dataset once, and were erased."""

    dataset: KeptDataset
    added: tuple[Item, ...]
    erased: int


class What(TypedDict, total=False):
    """What to change, as `adding.change` takes it."""

    removed: Iterable[str]
    expected: Mapping[str, Any]
    asked: Mapping[str, str]


class Library:
    """The datasets of an Airboss. `now` gives the time, aware."""

    def __init__(self, store: EvalStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def put(self, dataset: Dataset) -> bool:
        """Keep a dataset; returns False for one that was there. A changed dataset has another digest and
        stands beside the old one, which old runs refer to."""
        row = self._as_row(dataset)
        return self._store.put_dataset(row, [_row(item, dataset.shares) for item in dataset.items])

    def join(
        self,
        name: str,
        items: Iterable[Item],
        *,
        sessions: Mapping[str, str] | None = None,
        fresh: Shares | None = None,
        fitting: bool = False,
        corrected: Collection[str] = (),
    ) -> Joined:
        """The newest dataset of this name with these items; `adding.join` says how. Nothing is kept yet:
        `grow` does. Without such a dataset it is a new one of `fresh`. Raises WrongCall."""
        newest = self._newest(name)
        if newest is None:
            if fresh is None:
                raise WrongCall(self._unknown(name))
            return join(name, (), items, shares=fresh, onto=None, sessions=sessions)
        shares = msgspec.json.decode(newest.content, type=Shares)
        before, onto = self._store.every_item(newest.digest), newest.digest
        there = [row.id for row in before if row.id in corrected]
        forms = self._store.forms(name, there) if there else ()
        said = {row.id for row in forms if _item(row).expected is not None}
        return join(
            name,
            before,
            items,
            shares=shares,
            onto=onto,
            sessions=sessions,
            fitting=fitting,
            corrected=corrected,
            unsaid=set(there) - said,
        )

    def change(self, name: str, **what: Unpack[What]) -> Joined:
        """The newest dataset of this name with items taken out or expecting something else; `adding.change`
        says how. Nothing is kept yet: `grow` does. Raises WrongCall."""
        newest = self._newest(name)
        if newest is None:
            raise WrongCall(self._unknown(name))
        shares = msgspec.json.decode(newest.content, type=Shares)
        before = self._store.every_item(newest.digest)
        return change(name, before, shares=shares, onto=newest.digest, **what)

    def grow(self, joined: Joined) -> Grown | None:
        """Keep a dataset with what is added to it or changed in it, as the newest of its name; None, with
        nothing kept, where somebody else has changed it since: join again."""
        row = self._as_row(joined.dataset)
        items = [_row(item, joined.dataset.shares) for item in joined.items]
        new = bool(items or joined.gone)
        if new and not self._store.grow_dataset(row, items, onto=joined.onto, gone=joined.gone):
            return None
        kept = self.find(row.name)
        added = joined.items
        if kept.erased:  # of a content that was there before nothing that was erased comes back
            there = {each.id for each in self._store.every_item(kept.digest)}
            added = tuple(item for item in added if item.id in there)
        return Grown(dataset=kept, added=added, erased=len(joined.items) - len(added))

    def all(self) -> tuple[KeptDataset, ...]:
        """Every dataset, newest first."""
        rows = self._store.datasets()
        tallies = self._store.tallies() if rows else {}
        nothing = Tally(sizes={}, reads=0)
        return tuple(_kept(row, tallies.get(row.digest, nothing)) for row in rows)

    def find(self, wanted: str) -> KeptDataset:
        """The dataset of this digest (its first 8 digits suffice), or the newest of this name.

        Raises WrongCall where there is none, or several have a digest that begins so.
        """
        rows = self._store.datasets()
        named = [row for row in rows if row.name == wanted]
        if named:
            return self._kept(named[0])
        begins = [row for row in rows if len(wanted) >= 8 and row.digest.startswith(wanted)]
        digests = {row.digest for row in begins}
        if len(digests) == 1:
            return self._kept(begins[0])
        if digests:
            raise WrongCall(f"{len(digests)} datasets have a digest that begins {wanted!r}; give more digits")
        raise WrongCall(self._unknown(wanted))

    def again(self, digest: str, name: str) -> KeptDataset:
        """The dataset that a job was ordered on; `name` is what it was called then. Raises WrongCall once it
        is deleted."""
        row = next((each for each in self._store.datasets() if each.digest == digest), None)
        if row is None:
            raise WrongCall(
                f"dataset {name!r}, {digest[:12]}, was deleted meanwhile; nothing more is asked of it"
            )
        return self._kept(row)

    def items(self, dataset: KeptDataset, part: Part) -> tuple[Item, ...]:
        """The items of a part, in order of id. Raises HoldoutLocked for the holdout."""
        if part == "holdout":
            raise HoldoutLocked(
                f"the holdout of dataset {dataset.name!r} is locked; to read it say who you are and why"
            )
        return tuple(_item(row) for row in self._store.items(dataset.digest, part))

    def uneven(self, dataset: KeptDataset) -> tuple[Uneven, ...]:
        """The parts that are too small for what was asked for; every item is looked at, a holdout's by what
        it counts with alone."""
        rows = self._store.every_item(dataset.digest)
        drawn = ((row.part, msgspec.json.decode(row.content, type=Drawn)) for row in rows)
        return uneven(drawn, dataset.shares)

    def open_holdout(self, dataset: KeptDataset, *, who: str, why: str) -> Holdout:
        """The holdout's items; that they were read is on disk before they are given. Raises HoldoutLocked
        without a name or a reason."""
        if not who.strip() or not why.strip():
            raise HoldoutLocked(
                f"the holdout of dataset {dataset.name!r} opens for {who!r} because of {why!r}: give both"
            )
        read = HoldoutRead(dataset=dataset.digest, at=self._now(), who=who, why=why)
        before, rows = self._store.open_holdout(read)
        return Holdout(items=tuple(_item(row) for row in rows), reads_before=before)

    def reopen_holdout(self, dataset: KeptDataset, *, who: str, why: str) -> Holdout | None:
        """What `open_holdout` gave for just this reason the last time, for who was interrupted while reading;
        None if it never did."""
        found = self._store.reopen_holdout(dataset.digest, who=who, why=why)
        if found is None:
            return None
        before, rows = found
        return Holdout(items=tuple(_item(row) for row in rows), reads_before=before)

    def delete(self, name: str) -> None:
        """Delete the dataset of this name in all its versions; reports on it stay. Raises WrongCall where
        there is none."""
        if not self._store.drop_dataset(name):
            raise WrongCall(f"no dataset is called {name!r}")

    def _newest(self, name: str) -> DatasetRow | None:
        return next((row for row in self._store.datasets() if row.name == name), None)

    def _as_row(self, dataset: Dataset) -> DatasetRow:
        return DatasetRow(
            name=dataset.name,
            digest=dataset.digest,
            created_at=self._now(),
            size=len(dataset.items),
            content=msgspec.json.encode(dataset.shares).decode(),
        )

    def _unknown(self, wanted: str) -> str:
        """What to say of a name that no dataset has."""
        names = sorted({row.name for row in self._store.datasets()})
        near = difflib.get_close_matches(wanted[:80], names, n=1)
        there = listed(names) or "none yet; `dataset create` makes one, and `add --create`"
        hint = f"did you mean {near[0]!r}?" if near else f"there are {there}"
        return f"no dataset is called {wanted[:80]!r}; {hint}"

    def _kept(self, row: DatasetRow) -> KeptDataset:
        sizes = self._store.part_sizes(row.digest)
        return _kept(row, Tally(sizes=sizes, reads=len(self._store.holdout_reads(row.digest))))


def _kept(row: DatasetRow, tally: Tally) -> KeptDataset:
    return KeptDataset(
        name=row.name,
        digest=row.digest,
        created_at=row.created_at,
        shares=msgspec.json.decode(row.content, type=Shares),
        sizes={part: tally.sizes.get(part, 0) for part in PARTS},
        erased=row.size - sum(tally.sizes.values()),
        holdout_reads=tally.reads,
    )


def _row(item: Item, shares: Shares) -> ItemRow:
    return ItemRow(
        id=item.id,
        part=part_of(item, shares),
        subject=input_digest(item.input),
        user=item.user,
        content=msgspec.json.encode(item).decode(),
    )


def _item(row: ItemRow) -> Item:
    return msgspec.json.decode(row.content, type=Item)
