"""A gateway as a process."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import uvloop

from airboss.compose.certificates import renewing
from airboss.compose.counting import limiting
from airboss.compose.parts import (
    SystemClock,
    applied_config,
    open_plans,
    own_keys,
    provider_key,
    redactor,
    role_lock,
    tls_context,
)
from airboss.compose.process_limits import fit_limits
from airboss.compose.sealing import kept_responses
from airboss.compose.stores import once_asked, open_responses
from airboss.controller.price_list import PriceList
from airboss.gateway.cached import AnswerCache
from airboss.gateway.serve import GatewaySettings, serve
from airboss.store.datadir import DataDir
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves, terminate_self
from airboss.supervisor.listen import check_exposure, is_loopback, listen
from airboss.supervisor.variables import LISTEN_ENV
from airboss.telemetry import logs
from airboss.telemetry.journal import JournalWriter


def run_gateway(
    data_dir: Path, *, host: str, port: int, worker: int, insecure: bool, log_format: str | None
) -> None:
    """One gateway worker, until SIGTERM or the supervisor's end; both let calls in flight finish."""
    name = f"gateway-{worker}"
    logs.configure(name, log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with (
        role_lock(data),
        open_plans(data) as ledger,
        once_asked(partial(open_responses, data, late=True)) as responses,
        ExitStack() as stack,
    ):
        config = applied_config(ledger, data)
        check_exposure(host, tls=config.tls is not None, insecure=insecure)
        admin_key, own_secrets = own_keys(data)
        redact = redactor(ledger, own_secrets)
        logs.configure(name, log_format=log_format, redact=redact)
        listener = inherited_listener() or listen(host, port, flag="--port")
        on_parent_gone(terminate_self)
        context = tls_context(config.tls)
        journal = JournalWriter(data.journal_dir, name, fsync_interval_s=config.gateway.fsync_ms / 1000)
        settings = GatewaySettings(
            name=name,
            body_bytes_max=config.gateway.max_body_bytes,
            metrics_dir=data.metrics_dir,
            metrics_open=is_loopback(host),
            admin_key=admin_key,
            own_secrets=own_secrets,
            on_secrets=redact.learn,
            on_serving=lambda: tell_it_serves(asyncio.get_running_loop()),
            tls=context,
            prices=PriceList(data).in_force,
        )
        serving = serve(
            ledger=ledger,
            journal=journal,
            listen=listener,
            settings=settings,
            provider_key=provider_key,
            clock=SystemClock(),
            keeping=kept_responses(responses, data, config.gateway.responses_days),
            limiter=stack.enter_context(limiting(data, config.store, name)),
            cache=stack.enter_context(closing(AnswerCache(data.cache_path, clock=SystemClock()))),
        )

        async def main() -> None:
            async with renewing(config.tls, context):
                await serving

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        finally:
            journal.stop()


def inherited_listener() -> socket.socket | None:
    """The listening socket that the supervisor handed down, if one did."""
    number = os.environ.pop(LISTEN_ENV, None)
    return socket.socket(fileno=int(number)) if number is not None else None
