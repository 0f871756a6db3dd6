"""The search: many candidates on few items, few candidates on many, and the best of those on all of
validation. The holdout is not here.

Today's release is asked all of validation first. Then come rounds of successive halving: new candidates are
asked the first few items, the better third of them more, and the better third of those all. Every candidate
of a stage has been asked the same items, so that they are compared in pairs. After the first round new
candidates are variations of the best; with a reflector it also writes instructions for the best
(`reflection`). All of it keeps to the calls that there are: a stage that might need more is not begun.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.release import Example, PromptForm, Release
from airboss.evaluations.datasets import Item
from airboss.evaluations.ports import Caller, Target
from airboss.store.wording import many
from airboss.tuning.board import Board, Entry, Reflections
from airboss.tuning.candidates import Candidate, balanced, example_of, pool_of
from airboss.tuning.proposers import Proposer

ETA: Final = 3
"""Of so many candidates one goes on."""

STAGES: Final = (1 / 6, 2 / 5, 1.0)
"""How much of validation the stages of a round ask."""

STAGE_ITEMS_MIN: Final = 8
ROUNDS: Final = (0.55, 0.6, 1.0)
"""Each round's share of the calls that are then left."""

REFLECTION_SHARE: Final = 0.4
"""Of the calls left after the first round."""

REFLECTION_ITEMS: Final = 24
"""Of validation, on which the reflector's instructions are tried."""

WRITTEN: Final = 3
"""Of the reflector's instructions go on to all of validation."""

PARENTS: Final = 4
CANDIDATES_MAX: Final = 500

Left = Callable[[], int]
"""How many calls may still be made."""

Note = Callable[[str], None]
"""Takes where the search stands, in a few words."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search came to: `best` is None where nothing scored higher than today's release on all of
    validation."""

    base: Entry
    best: Entry | None
    items: tuple[Item, ...]
    reflections: Reflections | None = None


class Search:
    """One search. The same items, seed, budget and answers give the same result.

    `train` and `validation` are those parts of the dataset. `reflector` is called by way of `caller`.
    """

    def __init__(
        self,
        board: Board,
        base: Release,
        *,
        train: Sequence[Item],
        validation: Sequence[Item],
        forms: Sequence[PromptForm],
        seed: int,
        left: Left,
        caller: Caller,
        reflector: Target | None = None,
        note: Note = lambda _words: None,
    ) -> None:
        self._board = board
        self._base = base
        self._seed = seed
        self._left = left
        self._caller = caller
        self._reflector = reflector
        self._note = note
        rng = random.Random(f"items {seed}")  # noqa: S311 - seeded, so that a search can be made again
        self._items = balanced(rng.sample(validation, len(validation)))
        self._train = tuple(rng.sample(train, len(train)))
        self._pool = _clean(pool_of(self._train), validation)
        self._proposer = Proposer(
            base,
            pool=self._pool,
            train=self._train,
            forms=forms,
            rng=random.Random(f"proposals {seed}"),  # noqa: S311 - as above
        )
        self._stages = stages(len(self._items))
        self._best: Entry | None = None
        self._reflections: Reflections | None = None

    async def run(self) -> Found:
        """Search until the calls run out. Raises WrongCall where they do not suffice to begin, UpstreamFailed
        where today's release cannot be scored."""
        first = self._proposer.first()
        base, _ = self._board.enter(next(first))
        least = 2 * self._board.needs(base, self._items)
        if self._left() < least:
            raise WrongCall(
                f"the search has {many(self._left(), 'call')} left, and needs {least}: each of the "
                f"{len(self._items)} validation items asked of today's release and of one other"
            )
        await self._board.ask(base, self._items)
        self._board.check_base(base)
        self._best = base
        await self._round(base, first, ROUNDS[0])
        written: list[Entry] = []
        if self._reflector is not None:
            written = await self._reflect(self._reflector)
        for share in ROUNDS[1:]:
            parents = [entry.candidate for entry in (*written, *self._ranked())[:PARENTS]]
            await self._round(base, self._proposer.varied(parents), share, written)
            written = []
        best = self._ranked()[0]
        better = best is not base and best.mean(self._items) > base.mean(self._items)
        return Found(
            base=base, best=best if better else None, items=self._items, reflections=self._reflections
        )

    async def _round(
        self, base: Entry, proposals: Iterator[Candidate], share: float, also: Sequence[Entry] = ()
    ) -> None:
        """One halving of as many candidates as the share of the calls pays for: those of `also`, and new
        ones."""
        width = self._width(int(self._left() * share))
        alive = [*also[:width], *self._entered(proposals, width - len(also[:width]))]
        for number, stage in enumerate(self._stages):
            items = self._items[:stage]
            asked = []
            for entry in alive:
                if self._board.needs(entry, items) <= self._left():
                    await self._board.ask(entry, items)
                    asked.append(entry)
                    self._tell(base, items)
            asked.sort(key=lambda entry: _rank(entry, items))
            going = max(1, math.ceil(len(asked) / ETA)) if number + 1 < len(self._stages) else len(asked)
            alive = asked[:going]
        for entry in alive:
            self._best = min((self._best or entry, entry), key=lambda one: _rank(one, self._items))

    def _entered(self, proposals: Iterator[Candidate], count: int) -> list[Entry]:
        """The next `count` candidates that are new. Draws of a small pool come again and again, so that
        looking for new ones ends."""
        entries: list[Entry] = []
        for candidate in itertools.islice(proposals, 20 * count + 20):
            if len(entries) == count or len(self._board.entries) >= CANDIDATES_MAX:
                break
            entry, new = self._board.enter(candidate)
            if new:
                entries.append(entry)
        return entries

    def _width(self, calls: int) -> int:
        """How many candidates a halving may begin with for so many calls; 0: not even one reaches the end."""
        width = 0
        while (
            width < CANDIDATES_MAX and halving_calls(width + 1, self._stages) * self._board.per_item <= calls
        ):
            width += 1
        return width

    def _ranked(self) -> list[Entry]:
        """The entries that were asked all of validation, the best first."""
        whole = [
            entry
            for entry in self._board.entries.values()
            if all(item.id in entry.seen for item in self._items)
        ]
        return sorted(whole, key=lambda entry: _rank(entry, self._items))

    async def _reflect(self, reflector: Target) -> list[Entry]:
        """Instructions that the reflector wrote for the best so far, the best of them first."""
        structure = self._ranked()[0].candidate
        shown = set(structure.examples)
        budget = int(self._left() * REFLECTION_SHARE)
        floor = self._left() - budget
        items = self._items[:REFLECTION_ITEMS]
        from airboss.tuning.reflection import Reflection  # noqa: PLC0415 - GEPA, 11 MB, where it is needed

        reflection = Reflection(
            self._board,
            self._base,
            structure,
            reflector=reflector,
            caller=self._caller,
            practice=[item for item in self._train if example_of(item) not in shown],
            validation=items,
            left=lambda: self._left() - floor,
            seed=self._seed,
        )
        self._note("the reflector writes instructions")
        await reflection.run()
        self._reflections = reflection.asked
        ranked = sorted(reflection.found.values(), key=lambda entry: _rank(entry, items))
        return [entry for entry in ranked if entry.release.digest != self._ranked()[0].release.digest][
            :WRITTEN
        ]

    def _tell(self, base: Entry, items: Sequence[Item]) -> None:
        best = self._best or base
        tried = sum(bool(entry.seen) for entry in self._board.entries.values())
        self._note(
            f"{tried} tried on {many(len(items), 'item')}, best {best.mean(self._items):.3f}, "
            f"today {base.mean(self._items):.3f}"
        )


def stages(count: int) -> tuple[int, ...]:
    """How many items each stage asks in all; the last asks all of them."""
    sizes = [min(count, max(STAGE_ITEMS_MIN, math.ceil(share * count))) for share in STAGES]
    return tuple(dict.fromkeys(sizes))


def halving_calls(width: int, sizes: Sequence[int]) -> int:
    """How many items a halving that begins with `width` candidates asks in all."""
    calls = before = 0
    for size in sizes:
        calls += width * (size - before)
        before = size
        width = math.ceil(width / ETA)
    return calls


def _rank(entry: Entry, items: Sequence[Item]) -> tuple[float, float, str]:
    """Better is lower: the score, then the price, then something that is always the same."""
    return (-entry.mean(items), entry.weight, entry.release.digest)


def _clean(
    pool: Sequence[tuple[str, Example]], validation: Sequence[Item]
) -> tuple[tuple[str, Example], ...]:
    """The pool without questions that validation asks too: an example that gives an answer away would win."""
    asked = {example.input for item in validation if (example := example_of(item)) is not None}
    return tuple(each for each in pool if each[1].input not in asked)
