"""Several prompts held against the one that is served, done by the real evaluation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from airboss.evaluations.orders import EvalOrder
from airboss.evaluations.paid_once import Asking
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.work import evaluate
from airboss.store.job_rows import Job
from tests.support.seed_loop import CONFIG, OLD_PROMPT, Loop
from tests.support.seed_quality import dataset

RIGHT: Final = {"support": 0.6, "sharp": 0.97, "even": 0.62, "sloppy": 0.2}
"""How often the release of this name answers rightly; what is served is `support`."""

GATES: Final = ("exact:non-inferior:0.1",)


def serve(loop: Loop) -> None:
    """Three prompts beside the one that is served, and a dataset."""
    more = "".join(
        f'\n[releases.{name}]\nmodel = "mini"\nprompt = "Be {name}."\n' for name in RIGHT if name != "support"
    )
    loop.apply(OLD_PROMPT, text=CONFIG + more)
    dataset(loop, count=240)


class Contenders:
    """Answers of each release, and counts them."""

    def __init__(self, loop: Loop) -> None:
        self._names = {each.release.digest: each.release.name for each in loop.plan().served()}
        self.asked: list[str] = []

    async def call(self, call: Call) -> Answer:
        """As `evaluations.ports.Caller`."""
        name = self._names[call.target.release]
        self.asked.append(name)
        text = str(call.input.messages[-1]["content"])
        rng = random.Random(f"{name} {text}")
        number = int("".join(each for each in text if each.isdigit()))
        right = ("on its way", "delivered", "not found")[(number - 4000) % 3]
        said = right if rng.random() < RIGHT[name] else "I cannot say, sorry"
        return Answer(
            text=said,
            latency_ms=rng.uniform(300, 900) * (2 if name == "sharp" else 1),
            output_tokens=len(said) // 4,
            input_tokens=80,
            cost_usd=Decimal("0.00002") * (3 if name == "sharp" else 1),
            release=call.target.release,
        )


def asked_for(loop: Loop, releases: Sequence[str], **order: Any) -> tuple[Job, ...]:
    """A contest that nobody has begun."""
    fields: dict[str, Any] = {"scorers": ("exact", "length:words"), "gates": GATES, **order}
    asked = EvalOrder(dataset="orders", deployment="support", releases=tuple(releases), **fields)
    return loop.orders.start_contest(asked, by="ada")


def work(loop: Loop, count: int) -> Contenders:
    """Do the oldest evaluations; who answered is returned."""
    caller, asking = Contenders(loop), Asking()
    for _ in range(count):
        job = loop.jobs.claim("worker", loop.clock.at, 10)
        assert job is not None
        doing = evaluate(
            job,
            store=loop.evals,
            caller=caller,
            now=loop.clock.now,
            report=lambda *_: None,
            asking=asking,
        )
        loop.jobs.finish(job.id, "worker", asyncio.run(doing), loop.clock.at)
    return caller
