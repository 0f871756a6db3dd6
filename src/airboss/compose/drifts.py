"""Drift, wired: calls from the record log, prompts to the running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airboss.compose import evals
from airboss.compose.parts import SystemClock

if TYPE_CHECKING:
    from airboss.compose.watching import InForce
    from airboss.config import Config
    from airboss.controller.drift_watch import DriftWatch
    from airboss.controller.embed_http import Engine
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.store.datadir import DataDir
    from airboss.store.drift_rows import DriftStore


def embedder(ledger: Ledger) -> Engine | None:
    """The first local model that embeds, if any is deployed."""
    snapshot = ledger.snapshot()
    for each in snapshot.plan.deployments if snapshot is not None else ():
        if each.target.embeds:
            from airboss.controller.embed_http import Engine  # noqa: PLC0415 - 60 ms, where needed

            urls = each.target.base_urls
            return Engine(each.target.upstream_model, urls[0] if urls else None)
    return None


def watch(force: InForce, ledger: Ledger, store: DriftStore, records: RecordLog) -> DriftWatch:
    """What looks at samples of calls."""
    from airboss.controller.drift_watch import DriftWatch  # noqa: PLC0415 - the controller's own

    return DriftWatch(
        config=force.config,
        store=store,
        record_log=records,
        clock=SystemClock(),
        embedder=lambda: embedder(ledger),
    )


async def check_prompts(ledger: Ledger, data: DataDir, store: DriftStore, force: InForce) -> None:
    """Ask deployments their fixed prompts until cancelled."""
    from airboss.controller.drift_watch import CheckPrompts  # noqa: PLC0415 - as above
    from airboss.evaluations.datasets import Input, input_digest  # noqa: PLC0415 - as above
    from airboss.evaluations.ports import Answer, Call  # noqa: PLC0415 - as above
    from airboss.evaluations.targets import Served  # noqa: PLC0415 - as above

    async def ask(deployment: str, prompt: str) -> Answer:
        snapshot = ledger.snapshot()
        assert snapshot is not None  # there is a release to ask
        target = Served(snapshot.plan, ledger.standings()).stable(deployment)
        given = Input(messages=({"role": "user", "content": prompt},))
        caller = evals.caller(ledger, data)
        try:
            return await caller.call(Call(target=target, input=given, subject=input_digest(given)))
        finally:
            await caller.aclose()

    def releases() -> dict[str, str]:
        snapshot = ledger.snapshot()
        plan = snapshot.plan if snapshot is not None else None
        return {each.name: each.stable.digest for each in plan.deployments} if plan is not None else {}

    checks = CheckPrompts(config=force.config, releases=releases, store=store, ask=ask, clock=SystemClock())
    await checks.run()


def drifted(store: DriftStore, deployment: str, config: Config) -> tuple[int, str, tuple[str, ...]] | None:
    """How much of a deployment has drifted, in words, and ids of some of those calls: of what is looked at,
    whatever was found before."""
    from airboss.evaluations.drift import read  # noqa: PLC0415 - statistics, where needed
    from airboss.evaluations.drift_checks import Checks  # noqa: PLC0415 - as above
    from airboss.evaluations.drift_words import drifted as words  # noqa: PLC0415 - as above
    from airboss.store.drift_rows import checks_of, features_of  # noqa: PLC0415 - as above

    found = config.deployments.get(deployment)
    features = store.drift(features_of(deployment)) if found and found.drift.features else None
    checks = store.drift(checks_of(deployment)) if found and found.drift.prompts else None
    return words(
        read(features),
        msgspec.json.decode(checks, type=Checks) if checks is not None else None,
    )
