"""An alarm that evaluates once a day, of an Airboss that is served worse on a later one: all real code."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, cast

from airboss.compose.scheduled import Evaluations
from airboss.config import Config, parse_config
from airboss.controller.alarm_watch import AlarmWatch
from airboss.evaluations.ports import Answer, Call
from airboss.evaluations.work import evaluate
from airboss.store.alert_rows import AlarmRow
from tests.support.seed_loop import CONFIG, OLD_PROMPT, Loop
from tests.support.seed_quality import Clerk, dataset

DAY_S: Final = 86_400.0
ALARM: Final = """
[alarms.answers]
deployment = "support"
eval = { dataset = "orders", scorer = "exact", max_usd = 0.5 }
every = "1d"
for = "0s"
notify = ["ops"]
"""


class Forgetful:
    """A clerk who does not know a part of the orders any more."""

    def __init__(self, loop: Loop, forgets: int) -> None:
        self._clerk = Clerk(loop.plan())
        self._forgets = forgets

    async def call(self, call: Call) -> Answer:
        """As `evaluations.ports.Caller`."""
        number = int("".join(each for each in str(call.input.messages[-1]["content"]) if each.isdigit()))
        if number % 10 < self._forgets:
            cost = Decimal("0.00002")
            return Answer(text="I cannot say, sorry", latency_ms=400.0, output_tokens=5, cost_usd=cost)
        return await self._clerk.call(call)


class Scheduled:
    """The watch of a loop, and who does the evaluations that it asks for."""

    def __init__(self, loop: Loop, *, more: str = ALARM) -> None:
        loop.apply(OLD_PROMPT, text=CONFIG + more)
        dataset(loop)
        self.loop = loop
        stores = SimpleNamespace(evals=loop.evals, jobs=loop.jobs)
        self._watch = AlarmWatch(
            alarms=lambda: {"answers": self._config().alarms["answers"]},
            store=loop.alerts,
            record_log=loop.log,
            journal=lambda: loop.status().journal,
            clock=loop.clock,
            console_url=lambda: "http://127.0.0.1:8701",
            evaluating=Evaluations(loop.ledger, loop.data, cast("Any", stores)),
        )

    def _config(self) -> Config:
        return parse_config(self.loop.ledger.config() or "", source="x")

    def look(self, count: int = 1) -> AlarmRow:
        """So many looks; where the alarm stands then."""
        for _ in range(count):
            self._watch.tick()
            self.loop.clock.forward(10)
        return self.loop.alerts.alarms()["answers"]

    def work(self, *, forgets: int = 0) -> str:
        """Do the evaluation that is asked for, by a clerk who forgot so many tenths; its id."""
        loop = self.loop
        job = loop.jobs.claim("worker", loop.clock.at, 10)
        assert job is not None
        doing = evaluate(
            job,
            store=loop.evals,
            caller=Forgetful(loop, forgets),
            now=loop.clock.now,
            report=lambda *_: None,
        )
        loop.jobs.finish(job.id, "worker", asyncio.run(doing), loop.clock.at)
        return job.id

    def day(self, *, forgets: int = 0) -> str:
        """The evaluation of the next day; its id."""
        self.loop.clock.forward(DAY_S)
        self.look(2)
        done = self.work(forgets=forgets)
        self.look()
        return done
