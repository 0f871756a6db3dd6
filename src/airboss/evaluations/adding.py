"""What becomes of a dataset when items are added to it, taken out or expect something else. Pure.

The dataset that comes of it stands beside the old one under the same name, and what was begun with the old
one goes on with it. Adding leaves what is there as it is, in its part, but that an item that expects nothing
takes what was written in place of its answer since. What is there already is not added again, and what
belongs together stays together: an added item goes where its group is, and its person.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import (
    Dataset,
    Item,
    Part,
    Shares,
    dataset,
    input_digest,
    part_of,
)
from airboss.releases.digest import digest
from airboss.store.eval_rows import ItemRow

OTHER: Final = "is there already and asks or expects something else"
UNCORRECTED: Final = "is there already and does not expect what was written in place of the answer"
APART: Final = "belongs to what is in another part"


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset with what is added to it or changed in it. `onto` is the digest of the one before, None where
    there was none; `items` are those that are new to it or new in this form, `gone` the ids of those that it
    has no more in the form before. `there` counts those that are to be as they were, `left_out` those that
    cannot be added, by cause."""

    dataset: Dataset
    onto: str | None
    items: tuple[Item, ...]
    there: int
    gone: tuple[str, ...] = ()
    left_out: dict[str, int] = {}


class Unfit(WrongCall):
    """An item cannot be added as it is to what is there; `cause` says why of any such."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class _Standing:
    """What is in a dataset so far."""

    def __init__(self, shares: Shares) -> None:
        self.items: dict[str, Item] = {}
        self.asked: dict[str, Item] = {}
        self.groups: dict[str, Part] = {}
        self.people: dict[str, set[Part]] = defaultdict(set)
        self._shares = shares

    def take(self, item: Item, subject: str) -> None:
        part = part_of(item, self._shares)
        self.items[item.id] = item
        self.asked.setdefault(subject, item)
        if item.group is not None:
            self.groups.setdefault(item.group, part)
        if item.user is not None:
            self.people[item.user].add(part)

    def twin(self, item: Item, subject: str) -> Item | None:
        """The item that is there in this one's place: of its id, or, where nobody chose that, of its
        question. Raises Unfit where the two are not the same."""
        same = self.items.get(item.id)
        chosen = item.record is None and item.id != subject[:16]
        found = same if same is not None or chosen else self.asked.get(subject)
        if found is None:
            return None
        if same is not None and input_digest(same.input) != subject:
            raise Unfit(
                f"the item {item.id!r} is there already and asks something else; adding changes nothing that "
                "is there: give it an id of its own",
                OTHER,
            )
        if item.expected is not None and digest([item.expected]) != digest([found.expected]):
            now = "nothing" if found.expected is None else "something else"
            raise Unfit(
                f"the item {found.id!r} is there already and expects {now}; adding changes nothing that is "
                "there: leave the expected answer out, or have it expected with `dataset expect`",
                OTHER,
            )
        return found

    def placed(self, item: Item, session: str | None) -> Item:
        """The item in the group and part where it belongs. Raises Unfit where it is pinned to another."""
        if session in self.groups and item.group not in self.groups:
            item = msgspec.structs.replace(item, group=session)
        part, whose = self.groups.get(item.group or ""), "group"
        if part is None and item.user is not None and item.group == item.user:
            stands = self.people[item.user]
            part, whose = (next(iter(stands)) if len(stands) == 1 else None), "user"
        if part is None or part_of(item, self._shares) == part:
            return item
        if item.part is not None:
            raise Unfit(
                f"{whose} {item.group!r} is in {part}, and item {item.id!r} is to be in {item.part}; what "
                f"belongs together stays in one part: add it to {part}",
                APART,
            )
        return msgspec.structs.replace(item, part=part)


def join(
    name: str,
    before: Sequence[ItemRow],
    items: Iterable[Item],
    *,
    shares: Shares,
    onto: str | None,
    sessions: Mapping[str, str] | None = None,
    fitting: bool = False,
    corrected: Collection[str] = (),
    unsaid: Collection[str] = (),
) -> Joined:
    """The dataset of items `before`, whose digest is `onto`, with `items`; with `fitting` those of them that
    can be added.

    `sessions` has the sessions of items whose grouping nobody chose, by id: they are joined by it where the
    dataset keeps that session together, and not their user. `corrected` are the ids of items for which nobody
    asked that they expect what they do. One that is there already and does not expect it takes it if it is
    among `unsaid`, those of which nobody has ever said what they are to expect; else it is left out. Raises
    WrongCall for another that is there already and differs, unless these are left out, and as
    `datasets.dataset`.
    """
    standing = _Standing(shares)
    kept = [msgspec.json.decode(row.content, type=Item) for row in before]
    for row, item in zip(before, kept, strict=True):
        standing.take(item, row.subject)
    new: list[Item] = []
    righted: dict[str, Item] = {}
    there = 0
    left_out: Counter[str] = Counter()
    for each in items:
        subject = input_digest(each.input)
        try:
            asked = msgspec.structs.replace(each, expected=None) if each.id in corrected else each
            twin = standing.twin(asked, subject)
            if twin is not None:
                if asked is each or digest([twin.expected]) == digest([each.expected]):
                    there += 1
                elif each.id in unsaid:
                    user = each.user or twin.user
                    righted[each.id] = msgspec.structs.replace(twin, expected=each.expected, user=user)
                else:
                    left_out[UNCORRECTED] += 1
                continue
            item = standing.placed(each, (sessions or {}).get(each.id))
        except Unfit as error:
            if not fitting:
                raise
            left_out[error.cause] += 1
            continue
        standing.take(item, subject)
        new.append(item)
    return Joined(
        dataset=dataset(name, [*(righted.get(each.id, each) for each in kept), *new], shares=shares),
        onto=onto,
        items=(*new, *righted.values()),
        there=there,
        gone=tuple(sorted(righted)),
        left_out=dict(left_out),
    )


def change(
    name: str,
    before: Sequence[ItemRow],
    *,
    shares: Shares,
    onto: str,
    removed: Iterable[str] = (),
    expected: Mapping[str, Any] | None = None,
    asked: Mapping[str, str] | None = None,
) -> Joined:
    """The dataset of items `before`, whose digest is `onto`, without those whose ids are `removed`, and with
    what these are to expect, by id (None: nothing). Each stays in its part. `asked` has the digests of what
    items are thought to ask, by id: an id that is of that alone, as nobody chose one, names the item that
    asks it.

    Raises WrongCall for ids that it does not have, one that is both, an item that asks something else, a
    question that several ask, and where nothing would be left.
    """
    wanted, leaving = _named(before, expected or {}, asked or {}), set(removed)
    kept = {row.id: msgspec.json.decode(row.content, type=Item) for row in before}
    _check_named(name, kept, [*leaving, *wanted])
    other = sorted(row.id for row in before if (asked or {}).get(row.id, row.subject) != row.subject)
    if other:
        raise WrongCall(
            f"the item {other[0]!r} asks something else; what it asks stays: take it out, and add another"
        )
    both = sorted(leaving & wanted.keys())
    if both:
        raise WrongCall(f"the item {both[0]!r} is to be taken out, and to expect something; choose one")
    if leaving and len(leaving) == len(kept):
        raise WrongCall(f"nothing would be left of dataset {name!r}; `dataset delete` deletes it")
    changed = {
        id: msgspec.structs.replace(kept[id], expected=value)
        for id, value in wanted.items()
        if digest([value]) != digest([kept[id].expected])
    }
    items = [changed.get(id, item) for id, item in kept.items() if id not in leaving]
    return Joined(
        dataset=dataset(name, items, shares=shares),
        onto=onto,
        items=tuple(changed.values()),
        there=len(wanted) - len(changed),
        gone=tuple(sorted(leaving | changed.keys())),
    )


def _named(
    before: Sequence[ItemRow], expected: Mapping[str, Any], asked: Mapping[str, str]
) -> dict[str, Any]:
    """What is expected, by the ids of the items that are there."""
    there, asking = {row.id for row in before}, defaultdict(list)
    for row in before:
        asking[row.subject].append(row.id)
    found: dict[str, Any] = {}
    for id, value in expected.items():
        subject = asked.get(id, "")
        ids = [id] if id in there or id != subject[:16] else asking[subject] or [id]
        if len(ids) > 1:
            raise WrongCall(
                f"{len(ids)} items ask what a line without an id asks, {ids[0][:200]!r} among them; "
                "give it the id of the one that is meant"
            )
        if ids[0] in found:
            raise WrongCall(f"what {ids[0][:200]!r} is to expect is said twice; say it once")
        found[ids[0]] = value
    return found


def _check_named(name: str, kept: Mapping[str, Item], ids: Iterable[str]) -> None:
    unknown = sorted(each for each in ids if each not in kept)
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise WrongCall(
            f"dataset {name!r} has no item {unknown[0][:200]!r}{more}; `dataset export` shows those there are"
        )
