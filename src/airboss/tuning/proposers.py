"""Where candidates come from: forms, instructions and few-shot examples, drawn and varied by a seed. Pure.

Examples are drawn from the train part alone. A small model's answers hang on which examples it is shown and
in which order, by tens of points, so many draws are tried, and the best are varied a little at a time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from airboss.domain.release import Example, PromptForm, Release
from airboss.evaluations.datasets import Item
from airboss.tuning.candidates import Candidate, candidate_of, expected_text, fits

COUNTS: Final = (8, 4, 16)
"""How many examples a candidate is shown, the likeliest first."""

ANSWERS_MAX: Final = 20
ANSWER_CHARS_MAX: Final = 40
"""Up to so many short answers an instruction may name them all."""

TRIES_MAX: Final = 50
"""At a variation that gives something new."""


class Proposer:
    """Makes candidates from `base` and `pool`, which are examples of the train part with their items' ids.

    The same arguments give the same candidates in the same order.
    """

    def __init__(
        self,
        base: Release,
        *,
        pool: Sequence[tuple[str, Example]],
        train: Sequence[Item],
        forms: Sequence[PromptForm],
        rng: random.Random,
    ) -> None:
        self._base = base
        self._by_answer: dict[str, list[Example]] = {}
        for _, example in pool:
            self._by_answer.setdefault(example.output, []).append(example)
        self._size = len(pool)
        self._forms = tuple(forms)
        self._rng = rng
        self.instructions = instructions(base, train)

    def first(self) -> Iterator[Candidate]:
        """Candidates without end, the plainest first: instructions alone, then draws of examples in every
        form, with every instruction."""
        yield candidate_of(self._base, "today's release")
        for form in self._forms:
            for number, instruction in enumerate(self.instructions):
                yield Candidate(
                    instruction=instruction, form=form, origin=f"instruction {number} without examples"
                )
        while self._size:
            for count in COUNTS:
                for form in self._forms:
                    examples = self._draw(min(count, self._size))
                    number = self._rng.randrange(len(self.instructions))
                    yield Candidate(
                        instruction=self.instructions[number],
                        examples=examples,
                        form=form,
                        origin=f"{len(examples)} examples drawn, instruction {number}",
                    )

    def varied(self, parents: Sequence[Candidate]) -> Iterator[Candidate]:
        """Variations of the parents, the earlier ones more often; no end, while there are any."""
        tries = 0
        while parents and tries < TRIES_MAX:
            parent = parents[min(self._rng.randrange(len(parents)), self._rng.randrange(len(parents)))]
            child = self._vary(parent)
            tries = 0 if child is not None else tries + 1
            if child is not None:
                yield child

    def _vary(self, parent: Candidate) -> Candidate | None:
        """One thing changed, or None where that changes nothing."""
        ways = [self._other_order, self._other_example, self._other_draw, self._fewer, self._more]
        if len(self.instructions) > 1:
            ways.append(self._other_instruction)
        if len(self._forms) > 1:
            ways.append(self._other_form)
        child = self._rng.choice(ways)(parent)
        same = msgspec.structs.replace(child, origin=parent.origin) == parent
        return None if same or not (child.examples or child.instruction) else child

    def _other_order(self, parent: Candidate) -> Candidate:
        examples = list(parent.examples)
        self._rng.shuffle(examples)
        return msgspec.structs.replace(parent, examples=tuple(examples), origin="another order")

    def _other_example(self, parent: Candidate) -> Candidate:
        """Up to two examples replaced by others of the same answer."""
        examples = list(parent.examples)
        for _ in range(self._rng.choice((1, 2))):
            if examples:
                at = self._rng.randrange(len(examples))
                others = [
                    each for each in self._by_answer.get(examples[at].output, []) if each not in examples
                ]
                if others:
                    examples[at] = self._rng.choice(others)
        return msgspec.structs.replace(parent, examples=tuple(examples), origin="other examples")

    def _other_draw(self, parent: Candidate) -> Candidate:
        count = len(parent.examples) or COUNTS[0]
        return msgspec.structs.replace(
            parent, examples=self._draw(min(count, self._size)), origin="examples drawn anew"
        )

    def _fewer(self, parent: Candidate) -> Candidate:
        examples = list(parent.examples)
        if len(examples) > 1:
            del examples[self._rng.randrange(len(examples))]
        return msgspec.structs.replace(parent, examples=tuple(examples), origin="one example fewer")

    def _more(self, parent: Candidate) -> Candidate:
        shown = set(parent.examples)
        others = [each for each in self._draw(self._size) if each not in shown]
        examples = list(parent.examples)
        for example in others[: self._rng.choice((1, 2, 4))]:
            examples.insert(self._rng.randrange(len(examples) + 1), example)
        if len(examples) > max(COUNTS):
            return parent
        return msgspec.structs.replace(parent, examples=tuple(examples), origin="more examples")

    def _other_instruction(self, parent: Candidate) -> Candidate:
        number = self._rng.randrange(len(self.instructions))
        return msgspec.structs.replace(
            parent, instruction=self.instructions[number], origin=f"instruction {number}"
        )

    def _other_form(self, parent: Candidate) -> Candidate:
        form = self._rng.choice(self._forms)
        return msgspec.structs.replace(parent, form=form, origin=f"as {form}")

    def _draw(self, count: int) -> tuple[Example, ...]:
        """`count` examples, of each answer as many as can be, in a random order."""
        left = [self._rng.sample(held, len(held)) for held in self._by_answer.values()]
        self._rng.shuffle(left)
        drawn: list[Example] = []
        while len(drawn) < count and any(left):
            for held in left:
                if held and len(drawn) < count:
                    drawn.append(held.pop())
        self._rng.shuffle(drawn)
        return tuple(drawn)


def instructions(base: Release, train: Sequence[Item]) -> list[str | None]:
    """Instructions to begin with: today's, and where the answers are a few short ones, those that name them.
    All ask for the variables that today's asks for."""
    found: list[str | None] = [base.prompt]
    answers = sorted({expected_text(item) for item in train} - {""})
    short = all(len(answer) <= ANSWER_CHARS_MAX for answer in answers)
    if 2 <= len(answers) <= ANSWERS_MAX and short:
        named = f"Answer with exactly one of these and nothing else: {', '.join(answers)}."
        found += [named] if base.prompt is None else [f"{base.prompt}\n\n{named}", named]
    found.append(None)
    return [each for each in dict.fromkeys(found) if fits(each, base)]
