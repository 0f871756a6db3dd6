"""Datasets, evaluations and jobs of a seeded week (`seed_loop`), done by the real evaluation."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from io import BytesIO
from typing import Any

from airboss.controller.rollout_rows import first_id
from airboss.domain.plan import ServingPlan
from airboss.evaluations import datasets
from airboss.evaluations.jsonl import read_items
from airboss.evaluations.library import Library
from airboss.evaluations.orders import EvalOrder
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.work import evaluate
from tests.support.seed_loop import END, Loop


def dataset(loop: Loop, name: str = "orders", count: int = 240) -> None:
    """A dataset of questions and answers; somebody has read its holdout once."""
    library = Library(loop.evals, loop.clock.now)
    items = read_items(BytesIO(lines(count).encode()), source="orders.jsonl")
    library.put(datasets.dataset(name, items, shares=datasets.Shares()))
    library.open_holdout(library.find(name), who="ada", why="the judgement before the launch")


def evaluation(loop: Loop, **order: Any) -> str:
    """One that is done, of the candidate against stable; returns its id."""
    asked = EvalOrder(
        **{
            "dataset": "orders",
            "deployment": "support",
            "scorers": ("exact", "polite=contains:please", "length:words"),
            "gates": ("exact:non-inferior:0.05", "polite:better"),
            "why": "a look",
            **order,
        }
    )
    queued = loop.orders.start(asked, by="ada")
    job = loop.jobs.claim("worker", loop.clock.at, 10)
    assert job is not None
    assert job.id == queued.id
    result = asyncio.run(
        evaluate(
            job,
            store=loop.evals,
            caller=Clerk(loop.plan()),
            now=loop.clock.now,
            report=lambda done, total, note: beat(loop, job.id, done, total, note),
        )
    )
    loop.jobs.finish(job.id, "worker", result, loop.clock.at)
    return job.id


def beat(loop: Loop, job_id: str, done: int, total: int, note: str) -> None:
    """Say how far the job is."""
    loop.jobs.beat(job_id, "worker", done=done, total=total, note=note, now=loop.clock.at)


def quality(loop: Loop) -> None:
    """A dataset; evaluations that are done, broken, at work and waiting, the last asked for first."""
    dataset(loop)
    evaluation(loop)
    loop.clock.forward(5)
    evaluation(loop, part="holdout", gates=(), scorers=("exact",))
    scored = EvalOrder(dataset="orders", deployment="support", scorers=("exact",))
    claimed = []
    for owner in ("other", "third"):
        loop.clock.forward(5)
        loop.orders.start(scored, by="ada")
        job = loop.jobs.claim(owner, loop.clock.at, 10)
        assert job is not None
        claimed.append(job)
    broken, running = claimed
    loop.jobs.fail(broken.id, "other", "release support answered none of 64 calls: 401", loop.clock.at)
    note = "41 asked, 12 from before, 0.0021 USD"
    loop.jobs.beat(running.id, "third", done=53, total=96, note=note, now=loop.clock.at)
    loop.clock.forward(5)
    loop.orders.start(scored, by="ada")


class Clerk:
    """Answers about orders: the older release is right less often, and never says please. One question to one
    release has one answer, in whatever order they are asked."""

    def __init__(self, plan: ServingPlan) -> None:
        self._stable = {each.stable.digest for each in plan.deployments}

    async def call(self, call: Call) -> Answer:
        """As `evaluations.ports.Caller`."""
        old = call.target.release in self._stable
        text = str(call.input.messages[-1]["content"])
        rng = random.Random(f"{old} {text}")
        if rng.random() < 0.03:
            late = "upstream_timeout: the provider gave no answer within 30 s"
            return Answer(error=late, latency_ms=30_000)
        number = int("".join(each for each in text if each.isdigit()))
        right = ("on its way", "delivered", "not found")[(number - 4000) % 3]
        said = right if rng.random() < (0.72 if old else 0.84) else "I cannot say, sorry"
        if not old and rng.random() < 0.2:
            said = f"{said}; please ask again"
        return Answer(
            text=said,
            latency_ms=rng.uniform(300, 900),
            output_tokens=len(said) // 4,
            input_tokens=80,
            cost_usd=Decimal("0.00002"),
            release=call.target.release,
            record=f"{first_id(END)}7000-8000-{rng.getrandbits(48):012x}",
        )


def lines(count: int, word: str = "order") -> str:
    """A dataset of questions with the answers expected, as JSON Lines."""
    return "".join(
        json.dumps(
            {
                "id": f"q{number:03}",
                "input": f"Where is my {word} number {4000 + number}?",
                "expected": ("on its way", "delivered", "not found")[number % 3],
            }
        )
        + "\n"
        for number in range(count)
    )
