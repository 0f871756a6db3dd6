"""An evaluation at work: every item to both releases, scored, kept as it comes, and compared at the end.

Nothing is compared before all is there, so there is no peeking to correct for. A run that was killed goes
on: what is complete is passed over, answers paid for are taken from where `PaidOnce` keeps them, and what
failed or could not be scored is tried again. Two processes at one run do no harm but may pay twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.app_answers import app_call
from airboss.evaluations.compare import Metric, Observed, compare_all
from airboss.evaluations.datasets import Item, input_digest
from airboss.evaluations.few import unit_of
from airboss.evaluations.gate import decide
from airboss.evaluations.marks import Mark, unscored, without_quotes
from airboss.evaluations.paid_once import Asking, PaidOnce, answer_key
from airboss.evaluations.plan import (
    ArmTotals,
    EvalPlan,
    EvalReport,
    ItemResult,
    check_plan,
    timed,
    with_app,
)
from airboss.evaluations.ports import Answer, Call, Caller, EvalStore
from airboss.evaluations.scorers.base import Scorer, judged
from airboss.evaluations.scorers.pairwise import PairwiseScorer, position_bias
from airboss.evaluations.scorers.spec import open_scorer
from airboss.store.eval_rows import ResultRow, RunRow

CONCURRENCY: Final = 8
CONCURRENCY_MAX: Final = 256

NOT_HELD: Final = "it was not asked in the baseline"
"""Why A has nothing of an item that the run it is taken from did not have in this form."""

Arm = Literal["a", "b", "pair"]
"""Whose result it is."""

Key = tuple[str, Arm, int]
"""A result's item, arm and repeat."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. `done` of `total` items (each repeat counts) are through, `failed` of them with an
    answer missing; `paid` and `reused` count answers, of judges too, and `cost_usd` is what this process
    paid where the price is known."""

    done: int
    total: int
    failed: int
    paid: int
    reused: int
    cost_usd: Decimal


def begin(store: EvalStore, plan: EvalPlan, *, run_id: str, at: datetime) -> None:
    """Keep a new run, so that it can be resumed from here on. Raises WrongCall for a plan that means
    nothing."""
    check_plan(plan)
    content = msgspec.json.encode(plan).decode()
    store.put_run(RunRow(id=run_id, dataset=plan.dataset, created_at=at, state="running", content=content))


def load(store: EvalStore, run_id: str) -> tuple[EvalPlan, EvalReport | None]:
    """A run's plan, and its report if it is done. Raises WrongCall where there is no such run."""
    row = store.run(run_id)
    if row is None:
        raise WrongCall(f"no evaluation has the id {run_id!r}; `eval list` shows those there are")
    plan = msgspec.json.decode(row.content, type=EvalPlan)
    report = None if row.report is None else msgspec.json.decode(row.report, type=EvalReport)
    return plan, report


class EvalRun:
    """One process's work at a run that `begin` has kept; `items` are those of the plan's part.

    Raises WrongCall where a scorer cannot be opened. `progress` is called after every item, in the loop's
    thread. Runs that share an `asking` pay once for what they ask at the same time. `side_by_side`: where a
    scorer compares times, both releases are asked anew, as what was kept of one is another day's. `dataset`
    is the digest of the one that the items are of, where it is kept: once it is deleted the run ends.
    """

    def __init__(
        self,
        run_id: str,
        plan: EvalPlan,
        items: Sequence[Item],
        *,
        caller: Caller,
        store: EvalStore,
        now: Callable[[], datetime],
        concurrency: int = CONCURRENCY,
        progress: Callable[[Progress], None] | None = None,
        asking: Asking | None = None,
        side_by_side: bool = True,
        dataset: str | None = None,
    ) -> None:
        if not items:
            raise WrongCall(f"the {plan.part} part of dataset {plan.dataset_name!r} is empty; nothing to do")
        if not 1 <= concurrency <= CONCURRENCY_MAX:
            raise WrongCall(f"{concurrency} items at once; give 1 to {CONCURRENCY_MAX}")
        self._id = run_id
        self._plan = plan
        self._items = items
        self._store = store
        self._concurrency = concurrency
        self._progress = progress
        self._dataset = dataset
        self._caller = PaidOnce(caller, store, now, asking, dataset)
        compares_times = side_by_side and plan.a is not None and not with_app(plan) and timed(plan)
        self._apart = run_id if plan.anew or compares_times else ""
        self._spent_before = Decimal(0)
        opened = [
            open_scorer(spec, caller=self._caller, resolve=plan.judges.__getitem__, folder=Path(plan.folder))
            for spec in plan.scorers
        ]
        self._pair_scorers = [one for one in opened if isinstance(one, PairwiseScorer)]
        self._scorers: list[Scorer] = [one for one in opened if not isinstance(one, PairwiseScorer)]
        self._results: dict[Key, ItemResult] = {}
        self._done = self._failed = 0

    async def run(self) -> EvalReport:
        """Do what is left, keep the report and return it. Raises SetupError if the store fails, WrongCall if
        the dataset is deleted meanwhile, or it would cost more than it may; what was kept until then stays.
        """
        rows = await asyncio.to_thread(self._store.results, self._id)
        for row in rows:
            self._results[row.item, row.arm, row.repeat] = msgspec.json.decode(row.content, type=ItemResult)
        spent = [each.cost_usd for (_, arm, _), each in self._results.items() if arm == "b"]
        self._spent_before = sum((each for each in spent if each is not None), Decimal(0))
        if self._plan.held_to:
            await self._take_held()
        work = iter([(item, repeat) for repeat in range(self._plan.repeats) for item in self._items])
        workers = [asyncio.create_task(self._work(work)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        over = self._over_spent()
        if over is not None and self._done < len(self._items) * self._plan.repeats:
            raise WrongCall(over)
        report = await asyncio.to_thread(self._report)
        await asyncio.to_thread(self._store.finish_run, self._id, msgspec.json.encode(report).decode())
        return report

    async def _work(self, work: Iterator[tuple[Item, int]]) -> None:
        for item, repeat in work:
            if self._over_spent() is not None:
                return
            # One after the other, so that neither release waits on the other, and in an order that favours
            # neither.
            arms: tuple[Literal["a", "b"], ...] = ("a", "b") if _heads(item.id, repeat) else ("b", "a")
            if self._plan.a is None or self._plan.held_to:
                arms = ("b",)
            for arm in arms:
                await self._one(item, arm, repeat)
            if self._pair_scorers:
                await self._pair(item, repeat)
            self._done += 1
            self._failed += any(self._results[item.id, arm, repeat].error is not None for arm in arms)
            if self._progress is not None:
                self._progress(self._state())

    async def _take_held(self) -> None:
        """What B got in the run that this one is held to is what A gets here; of what was not asked then it
        has nothing."""
        names = [scorer.name for scorer in self._scorers]
        there = await asyncio.to_thread(held, self._store, self._plan, self._items)
        for repeat in range(self._plan.repeats):
            for item in self._items:
                if (item.id, "a", repeat) not in self._results:
                    result = there.get((item.id, repeat)) or ItemResult(
                        marks={name: unscored(NOT_HELD) for name in names}, error=NOT_HELD
                    )
                    await self._keep(item, "a", repeat, result)

    def _over_spent(self) -> str | None:
        """Why nothing more may be asked: all is spent that may be, or nobody knows what is."""
        most, spent = self._plan.max_usd, self._spent_before + self._caller.cost_usd
        if most is None:
            return None
        of = f"{self._done} of {len(self._items) * self._plan.repeats} items"
        if self._caller.unpriced:
            return (
                f"it was stopped after {of}: what an answer costs is not known, and max_usd bounds it; give "
                "the model, and a judge's, a `price`, or leave max_usd out"
            )
        if spent < most:
            return None
        return (
            f"it was stopped after {of}: they cost {spent.normalize():f} of max_usd {most:f}; "
            "raise that, or take fewer items"
        )

    async def _one(self, item: Item, arm: Literal["a", "b"], repeat: int) -> None:
        """Ask one release, score its answer and keep both."""
        if self._complete(item, arm, repeat, [scorer.name for scorer in self._scorers]):
            return
        call = self._call(item, arm, repeat)
        answer = await self._caller.call(call)
        marks = {scorer.name: await judged(scorer, item, answer) for scorer in self._scorers}
        result = ItemResult(
            marks=marks,
            key=answer_key(call) if answer.error is None else None,
            error=answer.error,
            latency_ms=answer.latency_ms,
            cost_usd=answer.cost_usd,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            record=answer.record,
        )
        await self._keep(item, arm, repeat, result)

    async def _pair(self, item: Item, repeat: int) -> None:
        """Let the pairwise judges choose between the two answers, and keep what they say."""
        if self._complete(item, "pair", repeat, [scorer.name for scorer in self._pair_scorers]):
            return
        a, b = await self._answer(item, "a", repeat), await self._answer(item, "b", repeat)
        marks = {scorer.name: await scorer.mark_pair(item, a, b) for scorer in self._pair_scorers}
        await self._keep(item, "pair", repeat, ItemResult(marks=marks))

    async def _answer(self, item: Item, arm: Literal["a", "b"], repeat: int) -> Answer:
        """The answer that was judged; an error if there is none, without asking again."""
        error = self._results[item.id, arm, repeat].error
        if error is not None:
            return Answer(error=error)
        return await self._caller.call(self._call(item, arm, repeat))

    def _call(self, item: Item, arm: Literal["a", "b"], repeat: int) -> Call:
        target = self._plan.a if arm == "a" else self._plan.b
        assert target is not None  # without A nothing is asked of it
        if target.app:
            return app_call(target, item)
        return Call(
            target=target,
            input=item.input,
            subject=input_digest(item.input),
            params=self._plan.params,
            repeat=repeat,
            user=item.user,
            apart=self._apart,
        )

    def _complete(self, item: Item, arm: Arm, repeat: int, names: Sequence[str]) -> bool:
        result = self._results.get((item.id, arm, repeat))
        return result is not None and result.complete and result.marks.keys() == set(names)

    async def _keep(self, item: Item, arm: Arm, repeat: int, result: ItemResult) -> None:
        row = ResultRow(
            run=self._id,
            item=item.id,
            arm=arm,
            repeat=repeat,
            subject=input_digest(item.input),
            content=msgspec.json.encode(result).decode(),
        )
        await asyncio.to_thread(self._store.put_result, row, user=item.user, dataset=self._dataset)
        self._results[item.id, arm, repeat] = result

    def _state(self) -> Progress:
        return Progress(
            done=self._done,
            total=len(self._items) * self._plan.repeats,
            failed=self._failed,
            paid=self._caller.paid,
            reused=self._caller.reused,
            cost_usd=self._caller.cost_usd,
        )

    def _report(self) -> EvalReport:
        plan = self._plan
        observed = [
            (
                Metric(name=scorer.name, bounds=scorer.bounds, higher_is_better=scorer.higher_is_better),
                [self._observed(item, scorer.name) for item in self._items],
            )
            for scorer in self._scorers
        ]
        observed += [
            (
                Metric(name=scorer.name, bounds=(0.0, 1.0)),
                [self._shares(item, scorer.name) for item in self._items],
            )
            for scorer in self._pair_scorers
        ]
        comparisons = compare_all(observed, alpha=plan.alpha, seed=plan.seed)
        biases = {
            scorer.name: position_bias(
                mark for item in self._items for mark in self._marks(item, "pair", scorer.name)
            )
            for scorer in self._pair_scorers
        }
        return EvalReport(
            items=len(self._items),
            a=self._totals("a") if plan.a is not None else None,
            b=self._totals("b"),
            comparisons=comparisons,
            decision=decide(plan.gates, comparisons, alpha=plan.alpha) if plan.gates else None,
            position_bias={name: bias for name, bias in biases.items() if bias is not None},
            unit=unit_of(self._items),
        )

    def _marks(self, item: Item, arm: Arm, name: str) -> list[Mark]:
        found = [self._results[item.id, arm, repeat].marks[name] for repeat in range(self._plan.repeats)]
        if item.user is None:
            return found
        # Of a person the report keeps no words: an erasure finds results, and not what was made of them.
        return [without_quotes(mark) for mark in found]

    def _observed(self, item: Item, name: str) -> Observed:
        return Observed(
            item=item.id,
            unit=_unit(item),
            a=tuple(self._marks(item, "a", name)) if self._plan.a is not None else (),
            b=tuple(self._marks(item, "b", name)),
        )

    def _shares(self, item: Item, name: str) -> Observed:
        """A pairwise judge's marks as both sides' shares of the win."""
        marks = self._marks(item, "pair", name)
        shares = [
            msgspec.structs.replace(mark, value=1 - mark.value) if isinstance(mark.value, float) else mark
            for mark in marks
        ]
        return Observed(item=item.id, unit=_unit(item), a=tuple(shares), b=tuple(marks))

    def _totals(self, arm: Literal["a", "b"]) -> ArmTotals:
        found = [
            self._results[item.id, arm, repeat]
            for item in self._items
            for repeat in range(self._plan.repeats)
        ]
        answered = [result for result in found if result.error is None]
        return ArmTotals(
            answers=len(answered),
            errors=len(found) - len(answered),
            input_tokens=sum(result.input_tokens or 0 for result in answered),
            output_tokens=sum(result.output_tokens or 0 for result in answered),
            cost_usd=sum((result.cost_usd or Decimal(0) for result in answered), Decimal(0)),
            cost_unknown=sum(result.cost_usd is None for result in answered),
        )


def held(store: EvalStore, plan: EvalPlan, items: Sequence[Item]) -> dict[tuple[str, int], ItemResult]:
    """What B got in the run that `plan` is held to, by item and repeat: of those items that asked and
    expected the same there, and that all scorers of `plan` marked."""
    kept, names = store.run(plan.held_to), {spec.name for spec in plan.scorers}
    if kept is None or plan.part == "holdout":  # which stays locked
        return {}
    rows = store.items(kept.dataset, plan.part)
    then = {row.id: _says(msgspec.json.decode(row.content, type=Item)) for row in rows}
    same = {item.id for item in items if then.get(item.id) == _says(item)}
    found = {
        (row.item, row.repeat): msgspec.json.decode(row.content, type=ItemResult)
        for row in store.results(plan.held_to)
        if row.arm == "b" and row.item in same
    }
    return {key: result for key, result in found.items() if names <= result.marks.keys()}


def _says(item: Item) -> bytes:
    """What an item asks and expects."""
    return msgspec.json.encode([item.input, item.expected])


def _unit(item: Item) -> str:
    """What counts once. Ids and groups may share names, so they are told apart."""
    return f"item {item.id}" if item.group is None else f"group {item.group}"


def _heads(item_id: str, repeat: int) -> bool:
    """A coin that falls the same way each time."""
    return hashlib.sha256(f"{repeat} {item_id}".encode("utf-8", "surrogatepass")).digest()[0] < 128
