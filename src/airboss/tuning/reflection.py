"""Instructions written by a model: GEPA (the package `gepa`) with any deployment as its reflector.

GEPA shows the reflector an instruction, a few items of the train part, what was answered and what was
expected, and asks for a better instruction; what does better on those items is tried on some of validation.
Its calls are ours: they go through the same board and the same budget. GEPA is synchronous, so it runs in a
thread of its own and hands every call to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from gepa.api import optimize
from gepa.core.adapter import EvaluationBatch, ProposalFn
from gepa.core.state import GEPAState
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from airboss.domain.release import Release
from airboss.evaluations.datasets import Input, Item, input_digest, question
from airboss.evaluations.marks import unquoted
from airboss.evaluations.ports import Call, Caller, Target
from airboss.releases.render import variables_in
from airboss.tuning.board import Board, Entry, Reflections
from airboss.tuning.candidates import Candidate, expected_text, fits

MINIBATCH: Final = 4
"""Items that one reflection is shown."""

ITERATIONS_MAX: Final = 50
TOKENS_MAX: Final = 800
"""Of a proposed instruction."""

SHOWN_CHARS_MAX: Final = 2_000
"""Of an item and of an answer in what the reflector is shown."""

COMPONENT: Final = "instruction"
KEEP: Final = (
    "\n\nThe new instruction must contain these placeholders, spelled exactly so, each at least once: {names}"
)

T = TypeVar("T")


class Closed(Exception):
    """The search is over or left; whatever GEPA still wants is not done."""


class Reflection:
    """One search for instructions, on the form and examples of `structure`.

    `practice` are items of the train part that `structure` does not show, `validation` some of that part.
    `left` tells how many calls may still be made. Every instruction tried stands on the board after it.
    """

    def __init__(
        self,
        board: Board,
        base: Release,
        structure: Candidate,
        *,
        reflector: Target,
        caller: Caller,
        practice: Sequence[Item],
        validation: Sequence[Item],
        left: Callable[[], int],
        seed: int,
    ) -> None:
        self._board = board
        self._base = base
        self._structure = structure
        self._reflector = reflector
        self._caller = caller
        self._practice = list(practice)
        self._validation = list(validation)
        self._left = left
        self._seed = seed
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._iterations = 0
        self._asked: dict[str, int] = {}
        self.asked = Reflections(asked=0, failed=0)
        self.found: dict[str, Entry] = {}
        """Entries that were tried on `validation`, by digest, in that order."""

    async def run(self) -> None:
        """Search until the calls run out. What `Board.ask` raises passes through."""
        if len(self._practice) < MINIBATCH or self._left() < self._round_needs():
            return
        try:
            await asyncio.to_thread(self._optimize)
        finally:
            self._closed = True

    def _optimize(self) -> None:
        keep = variables_in(self._base.prompt or "")
        template = InstructionProposalSignature.default_prompt_template
        if keep:
            template += KEEP.format(names=", ".join(f"{{{{ {name} }}}}" for name in sorted(keep)))
        try:
            optimize(
                seed_candidate={COMPONENT: self._structure.instruction or ""},
                trainset=self._practice,
                valset=self._validation,
                adapter=_Adapter(self),
                reflection_lm=self._reflect,
                reflection_prompt_template=template,
                reflection_minibatch_size=MINIBATCH,
                stop_callbacks=self._stop,
                logger=_Quiet(),
                seed=self._seed,
                raise_on_exception=True,
            )
        except Closed:
            return

    def _round_needs(self) -> int:
        """The most calls of one iteration."""
        items = 2 * MINIBATCH + len(self._validation)
        return self._board.per_item * items + 1

    def _stop(self, gepa_state: GEPAState) -> bool:  # type: ignore[type-arg]  # of any state
        del gepa_state
        self._iterations += 1
        if self._closed:
            raise Closed
        return self._iterations > ITERATIONS_MAX or self._left() < self._round_needs()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise Closed
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _reflect(self, prompt: str | list[dict[str, Any]]) -> str:
        """What the reflector says; empty where it fails, which proposes an empty instruction."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        given = Input(messages=tuple(messages))
        text = msgspec.json.encode(messages).decode()
        # The same question again wants another answer, not the one that is kept.
        repeat = self._asked[text] = self._asked.get(text, -1) + 1
        call = Call(
            target=self._reflector,
            input=given,
            subject=input_digest(given),
            params={"max_tokens": TOKENS_MAX},
            repeat=repeat,
        )
        answer = self._on_loop(self._caller.call(call))
        cause = answer.error
        if cause is not None and any(item.user is not None for item in self._practice):
            cause = unquoted(cause)
        self.asked = Reflections(
            asked=self.asked.asked + 1,
            failed=self.asked.failed + (cause is not None),
            cause=self.asked.cause or cause,
        )
        return answer.text or ""

    def evaluate(self, batch: Sequence[Item], instruction: str) -> list[tuple[float, str]]:
        """The value of each item's answer under an instruction, and the answer."""
        if not fits(instruction or None, self._base):
            return [(0.0, "(the instruction's placeholders are not those that callers fill)")] * len(batch)
        candidate = msgspec.structs.replace(
            self._structure, instruction=instruction or None, origin="written by the reflector"
        )
        entry, _ = self._board.enter(candidate)
        if self._board.needs(entry, batch) > self._left():
            self._closed = True
            raise Closed
        self._on_loop(self._board.ask(entry, batch))
        if all(item.id in entry.seen for item in self._validation):
            self.found.setdefault(entry.release.digest, entry)
        return [(entry.seen[item.id].value, entry.seen[item.id].said) for item in batch]


class _Adapter:
    """GEPA's interface (`gepa.core.adapter.GEPAAdapter`) to a `Reflection`."""

    propose_new_texts: ProposalFn | None = None

    def __init__(self, reflection: Reflection) -> None:
        self._reflection = reflection

    def evaluate(
        self,
        batch: list[Item],
        candidate: dict[str, str],
        capture_traces: bool = False,  # noqa: FBT001, FBT002 - GEPA's signature
    ) -> EvaluationBatch[dict[str, str], str]:
        """Scores from 0 to 1, one an item; a call that failed scores 0."""
        found = self._reflection.evaluate(batch, candidate[COMPONENT])
        shown = [_shown(item, value, said) for item, (value, said) in zip(batch, found, strict=True)]
        return EvaluationBatch(
            outputs=[said for _, said in found],
            scores=[value for value, _ in found],
            trajectories=shown if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: EvaluationBatch[dict[str, str], str],
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What the reflector is shown: each item, the answer, and what is wrong with it."""
        del candidate
        return {name: list(eval_batch.trajectories or ()) for name in components_to_update}


class _Quiet:
    """GEPA's log, which prints prompts: they must not reach ours."""

    def log(self, message: str) -> None:
        """Nothing."""


def _shown(item: Item, value: float, said: str) -> dict[str, str]:
    wanted = expected_text(item)
    if value == 1.0:
        feedback = "This answer is right."
    elif wanted:
        feedback = f"This answer scores {value:.2g} of 1. The right answer is exactly: {wanted}"
    else:
        feedback = f"This answer scores {value:.2g} of 1."
    return {
        "Input": question(item)[:SHOWN_CHARS_MAX],
        "Answer": said[:SHOWN_CHARS_MAX],
        "Feedback": feedback,
    }
