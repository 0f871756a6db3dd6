"""A dataset: named, digested items in three parts, of which the last is locked.

An item's part follows from a hash of its id (of its group, where it has one) and the dataset's seed, so that
adding items moves no other, and what belongs together is never torn apart. The parts are used for different
things: candidates are made on `train`, chosen on `validation`, and judged once on `holdout`. A holdout that
is looked at while choosing is no holdout, so reading it goes through `airboss.evaluations.library`, which
writes down who, when and why.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from airboss.domain.errors import WrongCall
from airboss.releases.digest import digest

Part = Literal["train", "validation", "holdout"]
"""What an item is for."""

PARTS: Final[tuple[Part, ...]] = ("train", "validation", "holdout")
ITEMS_MAX: Final = 100_000
ID_CHARS_MAX: Final = 200
FORMAT: Final = 1
"""Of the digest: another way of writing a dataset down would be another number."""

Json = dict[str, Any]
"""A JSON object on its way to the wire."""


class HoldoutLocked(WrongCall):
    """The holdout was asked for without saying who reads it and why."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """What a release is asked: chat messages in OpenAI's form, `variables` for its prompt, or both.

    `params` are further fields of the request (`response_format`, `tools`); they are part of the question,
    and go before what a release leaves open.
    """

    messages: tuple[Json, ...] = ()
    variables: dict[str, str] = {}
    params: Json = {}


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One question, and the answer expected of it if one is known.

    `expected` is any JSON value but null (None: nothing is expected); what it means is the scorer's to say.
    Items of one `group` (the turns of a conversation, the variants of a question) stay in one part, and
    count once in a comparison. `part` pins the item, for data that comes divided. `record` and `user` say
    where it came from, so that erasing a person finds it; they are not part of the digest.
    """

    id: str
    input: Input
    expected: Any = None
    tags: tuple[str, ...] = ()
    group: str | None = None
    part: Part | None = None
    record: str | None = None
    user: str | None = None


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """How a dataset is divided: `seed`, and the chances of an item to be in `train` and in `validation`; the
    rest is the holdout. Hashing draws each item by itself, so the parts' sizes vary about their shares."""

    seed: int = 0
    train: float = 0.4
    validation: float = 0.3

    @property
    def holdout(self) -> float:
        """The chance of an item to be in the holdout."""
        rest = 1 - self.train - self.validation
        return rest if rest > 1e-9 else 0.0  # 0.7 and 0.3 leave no holdout, whatever floats make of them

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if min(self.train, self.validation) < 0 or self.train + self.validation > 1:
            raise ValueError(
                f"shares of {self.train} and {self.validation}; each is at least 0, and both at most 1"
            )


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Items under a name; make one with `dataset`, which checks them and works out the digest.

    `digest` names the content: the items but for where they came from, in no order, and how they are divided.
    Nothing here forbids looking at `items`: `part` is for those who use them, and does.
    """

    name: str
    digest: str
    shares: Shares
    items: tuple[Item, ...]

    def part(self, part: Part) -> tuple[Item, ...]:
        """The items of a part, in order of id. Raises HoldoutLocked for the holdout."""
        if part == "holdout":
            raise HoldoutLocked(
                f"the holdout of dataset {self.name!r} is locked; read it with Library.open_holdout, which "
                "notes who, when and why"
            )
        return tuple(item for item in self.items if part_of(item, self.shares) == part)

    def sizes(self) -> dict[Part, int]:
        """How many items each part has."""
        counts = Counter(part_of(item, self.shares) for item in self.items)
        return {part: counts[part] for part in PARTS}


def dataset(name: str, items: Iterable[Item], *, shares: Shares | None = None) -> Dataset:
    """The items as a dataset, in order of id.

    Raises WrongCall for an empty name, no items or more than ITEMS_MAX, an id given twice, or a group of
    which items are pinned to different parts.
    """
    shares = shares or Shares()
    kept = sorted(items, key=lambda item: item.id)
    if not name or len(name) > ID_CHARS_MAX:
        raise WrongCall(f"a dataset's name has 1 to {ID_CHARS_MAX} characters, not {len(name)}")
    if not 1 <= len(kept) <= ITEMS_MAX:
        raise WrongCall(f"dataset {name!r} has {len(kept)} items; give 1 to {ITEMS_MAX}")
    _check(name, kept, shares)
    whole = {
        "format": FORMAT,
        "shares": [shares.seed, shares.train, shares.validation],
        "items": [_identity(item) for item in kept],
    }
    return Dataset(name=name, digest=digest(whole), shares=shares, items=tuple(kept))


def part_of(item: Item, shares: Shares) -> Part:
    """The part that an item belongs to; the same for ever, whatever other items there are."""
    if item.part is not None:
        return item.part
    key = f"item\0{item.id}" if item.group is None else f"group\0{item.group}"
    drawn = hashlib.sha256(f"{shares.seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    at = int.from_bytes(drawn[:8]) / 2**64
    if at < shares.train:
        return "train"
    return "validation" if at < shares.train + shares.validation else "holdout"


def input_digest(given: Input) -> str:
    """What is asked, as 64 hexadecimal digits: two items that ask the same have one."""
    return digest([given.messages, given.variables, given.params])


def words_digest(given: Input) -> str:
    """The same of the words alone, whatever parameters go with them: what a model that was trained on them
    knows."""
    return digest([given.messages, given.variables])


def question(item: Item) -> str:
    """The text that a person said last, for people and judges to read; all variables if there is none."""
    for message in reversed(item.input.messages):
        if message.get("role") == "user":
            return flat_text(message.get("content"))
    return "\n".join(f"{name}: {value}" for name, value in sorted(item.input.variables.items()))


def flat_text(content: Any) -> str:
    """The text in a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


def _identity(item: Item) -> Json:
    """What the digest covers. What is not set is left out, so that a field that a later version adds changes
    no digest of a dataset that does not use it."""
    whole: Json = {"id": item.id, "messages": item.input.messages}
    optional: Json = {
        "variables": item.input.variables,
        "params": item.input.params,
        "tags": item.tags,
        "group": item.group,
        "part": item.part,
    }
    whole |= {key: value for key, value in optional.items() if value}
    if item.expected is not None:
        whole["expected"] = item.expected
    return whole


def _check(name: str, items: Sequence[Item], shares: Shares) -> None:
    parts: dict[str, Part] = {}
    last = None
    for item in items:
        if not item.id or len(item.id) > ID_CHARS_MAX:
            raise WrongCall(
                f"an item of {name!r} has an id of {len(item.id)} characters; 1 to {ID_CHARS_MAX}"
            )
        if item.id == last:
            raise WrongCall(f"dataset {name!r} has the id {item.id!r} twice; ids are unique")
        last = item.id
        if item.group is None:
            continue
        # A pinned item would tear its group apart if the others went by the hash.
        found = part_of(item, shares)
        if parts.setdefault(item.group, found) != found:
            raise WrongCall(
                f"group {item.group!r} of {name!r} is in {parts[item.group]!r} and, by item {item.id!r}, in "
                f"{found!r}; pin all of its items to one part, or none"
            )
