"""What becomes of a dataset when items are added to it. Pure.

What is there stays as it is, in its part: the dataset that comes of it stands beside the old one under the
same name, and what was begun with the old one goes on with it. What is there already is not added again, and
what belongs together stays together: an added item goes where its group is, and its person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

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


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset with what is added to it. `onto` is the digest of the one before, None where there was none;
    `items` are those that are new to it, and `there` counts those that it had."""

    dataset: Dataset
    onto: str | None
    items: tuple[Item, ...]
    there: int


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
        question. Raises WrongCall where the two are not the same."""
        same = self.items.get(item.id)
        chosen = item.record is None and item.id != subject[:16]
        found = same if same is not None or chosen else self.asked.get(subject)
        if found is None:
            return None
        if same is not None and input_digest(same.input) != subject:
            raise WrongCall(
                f"the item {item.id!r} is there already and asks something else; adding changes nothing that "
                "is there: give it an id of its own"
            )
        if item.expected is not None and digest([item.expected]) != digest([found.expected]):
            now = "nothing" if found.expected is None else "something else"
            raise WrongCall(
                f"the item {found.id!r} is there already and expects {now}; adding changes nothing that is "
                "there: leave the expected answer out, or make the dataset anew"
            )
        return found

    def placed(self, item: Item, session: str | None) -> Item:
        """The item in the group and part where it belongs. Raises WrongCall where it is pinned to another."""
        if session in self.groups and item.group not in self.groups:
            item = msgspec.structs.replace(item, group=session)
        part, whose = self.groups.get(item.group or ""), "group"
        if part is None and item.user is not None and item.group == item.user:
            stands = self.people[item.user]
            part, whose = (next(iter(stands)) if len(stands) == 1 else None), "user"
        if part is None or part_of(item, self._shares) == part:
            return item
        if item.part is not None:
            raise WrongCall(
                f"{whose} {item.group!r} is in {part}, and item {item.id!r} is to be in {item.part}; what "
                f"belongs together stays in one part: add it to {part}"
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
) -> Joined:
    """The dataset of items `before`, whose digest is `onto`, with `items`.

    `sessions` has the sessions of items whose grouping nobody chose, by id: they are joined by it where the
    dataset keeps that session together, and not their user. Raises WrongCall for an item that is there
    already and differs, and as `datasets.dataset`.
    """
    standing = _Standing(shares)
    kept = [msgspec.json.decode(row.content, type=Item) for row in before]
    for row, item in zip(before, kept, strict=True):
        standing.take(item, row.subject)
    new: list[Item] = []
    there = 0
    for each in items:
        subject = input_digest(each.input)
        if standing.twin(each, subject) is not None:
            there += 1
            continue
        item = standing.placed(each, (sessions or {}).get(each.id))
        standing.take(item, subject)
        new.append(item)
    return Joined(
        dataset=dataset(name, [*kept, *new], shares=shares), onto=onto, items=tuple(new), there=there
    )
