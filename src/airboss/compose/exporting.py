"""Calls on their way to an OTLP backend: what `[telemetry]` and the standard environment say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airboss.compose.parts import SystemClock
from airboss.compose.threads import at_work, in_a_loop
from airboss.compose.watching import InForce, SwitchedOn, report, secret
from airboss.config.rules import is_reference
from airboss.store.datadir import DataDir
from airboss.supervisor import runfiles

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.config import Config
    from airboss.controller.otlp_settings import ExportSettings
    from airboss.domain.ports import Ledger
    from airboss.store.span_rows import TracedLog


def settings_of(config: Config, env: Mapping[str, str]) -> ExportSettings | None:
    """Where calls are sent: as the configuration says, else as the environment does. Raises SetupError."""
    from airboss.controller import otlp_settings as export  # noqa: PLC0415 - the controller's own

    otlp = config.telemetry.otlp
    providers = {
        name: export.WELL_KNOWN[each.kind]
        for name, each in config.providers.items()
        if each.kind in export.WELL_KNOWN
    }
    if otlp is None:
        return export.environment_settings(env, providers)
    headers = {
        name.lower(): secret(value) if is_reference(value) else value for name, value in otlp.headers.items()
    }
    return export.ExportSettings(
        traces_url=export.with_path(otlp.endpoint, "traces"),
        metrics_url=export.with_path(otlp.endpoint, "metrics"),
        logs_url=export.with_path(otlp.endpoint, "logs"),
        headers=headers,
        providers=providers,
        resource=export.resource_of(env),
        sample=otlp.sample,
        content=otlp.content,
        latest=export.asks_latest(env),
    )


@contextmanager
def exporting(
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: TracedLog,
    *,
    brought: Container[str],
    broke: Callable[[], None],
) -> Iterator[None]:
    """Calls are sent until the end of the block, but those `brought` by imports. `broke` is called if that
    ends by a defect."""
    from airboss.controller.otlp_export import OtlpExport  # noqa: PLC0415 - the controller's own

    force, clock = InForce(ledger), SystemClock()
    up = runfiles.read_up(data.run_dir)
    began = up.started_at if up is not None and up.pid == os.getppid() else clock.now()
    configured = SwitchedOn(ledger, lambda config: config.telemetry.otlp is not None)
    export = OtlpExport(
        settings=lambda: settings_of(force.config(), os.environ),
        # An environment is as old as the processes that have it.
        since=lambda: configured() if force.config().telemetry.otlp is not None else began,
        record_log=records,
        cursors=stores.alerts,
        clock=clock,
        brought=brought,
    )

    async def work() -> None:
        await asyncio.gather(export.run(), report(data, "exporting", lambda: {"gauges": export.counts}))

    with at_work({"otlp": in_a_loop(work)}, broke=broke):
        yield
