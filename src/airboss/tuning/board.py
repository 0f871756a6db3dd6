"""The board: what every candidate has scored so far, item by item, and how it compares."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from airboss.domain.errors import UpstreamFailed, WrongCall
from airboss.domain.release import PromptForm, Release
from airboss.evaluations.compare import Metric, Observed, compare
from airboss.evaluations.datasets import Item, Json, input_digest
from airboss.evaluations.intervals import Interval
from airboss.evaluations.marks import Mark, without_quotes
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.scorers.base import Scorer, judged
from airboss.evaluations.scorers.llm_judge import JudgeScorer
from airboss.store.wording import many
from airboss.tuning.calling import Metered, Varying
from airboss.tuning.candidates import Candidate, released

FAILED_SHARE_MAX: Final = 0.5
"""Of today's release's answers: where more are missing something is broken, and nothing can be compared."""

CAUSE_CHARS_MAX: Final = 300


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one item: its mark, the same as a number from 0 to 1 where more is better (0 where there
    is none), the tokens of the call (None: unknown), and what was said."""

    mark: Mark
    value: float
    tokens: int | None
    said: str


class Reflections(msgspec.Struct, frozen=True, kw_only=True):
    """How often the reflector was asked, how often it gave no answer, and the first cause of that."""

    asked: int
    failed: int
    cause: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as a search has come to know it.

    `score` is the mean over `n` items of validation, 0 to 1, more is better; `unscored` of them had no mark
    and count as 0. `tokens_per_call` are prompt and answer. `difference` is the score minus today's release's
    on the same items, with an interval of 95% that knows nothing of how many candidates there were: only the
    holdout tells what was gained.
    """

    release: str
    origin: str
    form: PromptForm
    instruction: str | None
    examples: int
    score: float
    n: int
    unscored: int
    tokens_per_call: float | None
    difference: Interval | None = None


class Entry:
    """A candidate on the board, with what is known of it by item."""

    def __init__(self, candidate: Candidate, release: Release) -> None:
        self.candidate = candidate
        self.release = release
        self.seen: dict[str, Seen] = {}

    def mean(self, items: Sequence[Item]) -> float:
        """The mean value over items that were all asked."""
        return statistics.fmean(self.seen[item.id].value for item in items)

    @property
    def tokens(self) -> float | None:
        """Tokens a call, where the endpoint told them."""
        told = [each.tokens for each in self.seen.values() if each.tokens is not None]
        return statistics.fmean(told) if told else None

    @property
    def weight(self) -> float:
        """Tokens a call, or the prompt's characters where nobody told them: for choosing the cheaper of two
        that score alike."""
        if self.tokens is not None:
            return self.tokens
        shown = sum(len(each.input) + len(each.output) for each in self.candidate.examples)
        return float(shown + len(self.candidate.instruction or ""))


class Board:
    """Asks candidates and keeps their scores. `base` is today's release, the first entry.

    `concurrency` items of one candidate are asked at once: candidates come one after the other, because an
    engine that has just read a prompt reads the same beginning again for nothing. `params` go into every
    request. Raises WrongCall for a scorer without bounds.
    """

    def __init__(
        self,
        base: Release,
        *,
        caller: Metered,
        varying: Varying,
        scorer: Scorer,
        concurrency: int,
        params: Json | None = None,
    ) -> None:
        if scorer.bounds is None:
            raise WrongCall(
                f"the scorer {scorer.name!r} has no least and no greatest mark, so there is no telling how "
                "good one is; tune by a bounded one: exact, contains, regex, json_schema, refusal, llm_judge"
            )
        self._base = base
        self._caller = caller
        self._varying = varying
        self._scorer = scorer
        self._bounds = scorer.bounds
        self._params = params or {}
        self._limit = asyncio.Semaphore(concurrency)
        self.entries: dict[str, Entry] = {}
        self.per_item = calls_per_item(scorer)

    def enter(self, candidate: Candidate) -> tuple[Entry, bool]:
        """The candidate's entry, and whether it is new: one that answers like another is that one."""
        release = released(candidate, self._base, self._base.name)
        known = self.entries.get(release.digest)
        if known is not None:
            return known, False
        entry = Entry(candidate, release)
        self.entries[release.digest] = entry
        return entry, True

    def needs(self, entry: Entry, items: Sequence[Item]) -> int:
        """The most calls that asking these takes."""
        return self.per_item * sum(item.id not in entry.seen for item in items)

    async def ask(self, entry: Entry, items: Sequence[Item]) -> None:
        """Ask a candidate what it has not been asked of these."""
        target = self._varying.know(entry.release)

        async def one(item: Item) -> None:
            async with self._limit:
                call = Call(
                    target=target,
                    input=item.input,
                    subject=input_digest(item.input),
                    params=self._params,
                    user=item.user,
                )
                answer = await self._caller.call(call)
                mark = await judged(self._scorer, item, answer)
            if item.user is not None:  # what is told of it may outlive the item
                mark = without_quotes(mark)
            entry.seen[item.id] = self._seen(mark, answer)

        tasks = [asyncio.create_task(one(item)) for item in items if item.id not in entry.seen]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _seen(self, mark: Mark, answer: Answer) -> Seen:
        low, high = self._bounds
        if isinstance(mark.value, str):
            raise WrongCall(
                f"the scorer {self._scorer.name!r} gives labels, which have no better or worse; let it give "
                "numbers, or yes and no"
            )
        value = 0.0
        if mark.value is not None:
            value = (float(mark.value) - low) / (high - low)
            value = value if self._scorer.higher_is_better else 1 - value
        counts = (answer.input_tokens, answer.output_tokens)
        told = [count for count in counts if count is not None]
        return Seen(
            mark=mark,
            value=min(max(value, 0.0), 1.0),
            tokens=sum(told) if answer.error is None and told else None,
            said=answer.text if answer.text is not None else f"(no answer: {answer.error})",
        )

    def check_base(self, entry: Entry) -> None:
        """Raises UpstreamFailed where today's release could hardly be scored."""
        unscored = [each.mark.unscored for each in entry.seen.values() if each.mark.unscored is not None]
        if len(unscored) > FAILED_SHARE_MAX * len(entry.seen):
            raise UpstreamFailed(
                f"of {many(len(entry.seen), 'answer')} of release {entry.release.name!r} {len(unscored)} "
                f"could not be scored, so there is nothing to compare with: {unscored[0][:CAUSE_CHARS_MAX]}"
            )

    def standing(self, entry: Entry, items: Sequence[Item], base: Entry) -> Standing:
        """How a candidate stands on those of the items that it was asked."""
        asked = [item for item in items if item.id in entry.seen]
        marks = [entry.seen[item.id].mark for item in asked]
        return Standing(
            release=entry.release.digest,
            origin=entry.candidate.origin,
            form=entry.candidate.form,
            instruction=entry.candidate.instruction,
            examples=len(entry.candidate.examples),
            score=entry.mean(asked) if asked else math.nan,
            n=len(asked),
            unscored=sum(mark.unscored is not None for mark in marks),
            tokens_per_call=entry.tokens,
            difference=self._difference(entry, asked, base) if entry is not base else None,
        )

    def _difference(self, entry: Entry, asked: Sequence[Item], base: Entry) -> Interval | None:
        paired = [item for item in asked if item.id in base.seen]
        observed = [
            Observed(
                item=item.id,
                unit=item.id if item.group is None else f"group {item.group}",
                a=(_as_value(base.seen[item.id]),),
                b=(_as_value(entry.seen[item.id]),),
            )
            for item in paired
        ]
        return compare(Metric(name="score", bounds=(0.0, 1.0)), observed, alpha=0.05, seed=0).gap


def _as_value(seen: Seen) -> Mark:
    """The mark that a search reckons with: yes and no stay what they are, what has none is the worst."""
    if isinstance(seen.mark.value, bool):
        return Mark(value=seen.value == 1.0)
    return Mark(value=seen.value)


def calls_per_item(scorer: Scorer) -> int:
    """The most calls that an item takes: the answer, and the judge's where a model judges."""
    return 2 if isinstance(scorer, JudgeScorer) else 1
