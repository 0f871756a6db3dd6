"""The processes that `airboss up` starts, each of which also starts alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airboss.compose.background import give_way
from airboss.compose.certificates import renewing
from airboss.compose.counting import adding_up, limiting
from airboss.compose.desk import desk_over, status_over
from airboss.compose.exporting import exporting
from airboss.compose.governing import chores, erasing, keeping, looking_after, looking_at_audit
from airboss.compose.jobs import handlers, working
from airboss.compose.parts import (
    SystemClock,
    applied_config,
    found_alone,
    machines,
    open_ledger,
    open_plans,
    own_keys,
    provider_key,
    redactor,
    role_lock,
    tls_context,
)
from airboss.compose.process_limits import fit_limits
from airboss.compose.rollouts import rollouts
from airboss.compose.scaling import scaling
from airboss.compose.sealing import kept_responses, open_ring, sealed
from airboss.compose.stores import open_responses, open_rollouts, open_stores
from airboss.compose.threads import at_work
from airboss.compose.watching import lost, watching
from airboss.config import ModelConfig, TlsConfig
from airboss.domain.errors import SetupError, WrongWeights
from airboss.domain.ports import Ledger
from airboss.store.datadir import DataDir, private
from airboss.supervisor import fleet
from airboss.supervisor.lifeline import LIFELINE_ENV, on_parent_gone, tell_it_serves
from airboss.supervisor.listen import check_exposure, is_loopback, listen
from airboss.supervisor.restart import USELESS_CODE
from airboss.telemetry import logs

if TYPE_CHECKING:
    from airboss.console.desk import Desk


def run_gateway(
    data_dir: Path, *, host: str, port: int, worker: int, insecure: bool, log_format: str | None
) -> None:
    """One gateway worker, until SIGTERM or the supervisor's end; both let calls in flight finish."""
    import uvloop  # noqa: PLC0415 - this role's own

    from airboss.controller.price_list import PriceList  # noqa: PLC0415 - this role's own
    from airboss.gateway.cached import AnswerCache  # noqa: PLC0415 - as above
    from airboss.gateway.serve import GatewaySettings, serve  # noqa: PLC0415 - as above
    from airboss.telemetry.journal import JournalWriter  # noqa: PLC0415 - as above

    name = f"gateway-{worker}"
    logs.configure(name, log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with (
        role_lock(data),
        open_plans(data) as ledger,
        open_responses(data, late=True) as responses,
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
            on_serving=tell_it_serves,
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


def run_controller(
    data_dir: Path, *, host: str, console_port: int, insecure: bool, log_format: str | None
) -> None:
    """The controller, until SIGTERM or the supervisor's end."""
    from airboss.controller.loop import Controller  # noqa: PLC0415 - this role's own
    from airboss.controller.mover import Mover  # noqa: PLC0415 - as above
    from airboss.store.client import StoreClient  # noqa: PLC0415 - as above
    from airboss.store.ledger_lead import leading  # noqa: PLC0415 - as above

    logs.configure("controller", log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with (
        role_lock(data),
        leading(data.ledger_url, broke=terminate_self),
        open_ledger(data) as ledger,
        open_stores(data) as stores,
        open_rollouts(data) as kept,
        open_ring(data, leads=True) as ring,
    ):
        config = applied_config(ledger, data)
        check_exposure(host, tls=config.tls is not None, insecure=insecure)
        admin_key, own_secrets = own_keys(data)
        redact = redactor(ledger, own_secrets)
        logs.configure("controller", log_format=log_format, redact=redact)
        listener = listen(host, console_port, flag="--console-port")
        on_parent_gone(terminate_self)
        records, clock = sealed(StoreClient(data.socket_path), ledger, ring), SystemClock()
        retention, audit = keeping(ledger, stores, records, data), looking_at_audit(stores.audit, data)
        people, nodes = erasing(data, stores, records), machines(data)
        mover = Mover(data.journal_dir, records, clock, people=people, elsewhere=nodes)
        metrics = data.metrics_dir / "controller.json"
        controller = Controller(mover=mover, metrics=metrics, clock=clock, more_gauges=retention.gauges)
        live = rollouts(ledger, data, records, stores, kept=kept, journal=lambda: controller.journal)
        status = status_over(
            ledger, data, stores, records, retention,
            audit=audit, journal=lambda: controller.journal, nodes=nodes,
        )  # fmt: skip
        desk = desk_over(
            ledger, data, stores, records, live,
            admin_key=admin_key, status=status, nodes=nodes, letters=mover.letters,
        )  # fmt: skip
        small = chores(ledger, data, stores, records, redact, retention, audit, kept, status)

        async def main() -> None:
            stop = asyncio.Event()
            give_way()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            tell_it_serves()
            await controller.run(lambda told: serve_console(desk, listener, config.tls, told), stop)

        with (
            found_alone(data, listener, host, config.tls),
            working(stores.jobs, handlers(ledger, data, stores, propose=live.propose), broke=terminate_self),
            at_work({"rollouts": live.run}, broke=terminate_self),
            scaling(ledger, data, nodes, broke=terminate_self),
            looking_after(small, broke=terminate_self),
            adding_up(records, stores, ledger, lambda: controller.journal.moved_records, terminate_self),
            exporting(ledger, data, stores, records, brought=desk.brought, broke=terminate_self),
            watching(
                ledger, data, stores, records,
                journal=lambda: controller.journal,
                lost=lambda: lost(controller.journal, retention.status()),
                redact=redact.text, brought=desk.brought, broke=terminate_self,
            ),
        ):  # fmt: skip
            asyncio.run(main())
        audit.look_last()  # at what was done since it last did
        records.close()


def run_store(data_dir: Path, *, log_format: str | None) -> None:
    """The record store, until SIGTERM or the supervisor's end."""
    from airboss.compose.records import record_log  # noqa: PLC0415 - this role's own
    from airboss.store.service import serve  # noqa: PLC0415 - as above

    logs.configure("store", log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with role_lock(data):
        on_parent_gone(terminate_self)
        records = record_log(data, os.environ.pop(fleet.RECORDS_ENV, None))
        give_way(session=True)
        serve(records, data.socket_path, ready=tell_it_serves)


def run_replica(
    data_dir: Path, *, model: str, port: int, placement: str | None, log_format: str | None
) -> None:
    """One engine of a local model, until SIGTERM or the supervisor's end. Fetches the weights if need be.

    It is started with what `placement` says, which may be older than the configuration in force; with None
    with what that says of the model. To a supervisor it says by its exit code that another try cannot help.
    """
    from airboss.compose.engines import serve_model  # noqa: PLC0415 - this role's own

    logs.configure(f"replica-{placement or model}", log_format=log_format)
    fit_limits()
    supervised = LIFELINE_ENV in os.environ
    on_parent_gone(lambda: os._exit(0))  # an engine saves nothing, and may be deep in C++ for long
    data = DataDir(data_dir)
    with open_ledger(data) as ledger:
        chosen = engine_settings(ledger, data, model, placement)
    try:
        with private():
            serve_model(chosen, weights_dir=data.weights_dir, port=port, alias=model)
    except WrongWeights as error:
        if not supervised:
            raise
        sys.stderr.write(f"airboss: {error}\n")
        sys.exit(USELESS_CODE)


def engine_settings(ledger: Ledger, data: DataDir, model: str, placement: str | None) -> ModelConfig:
    """What an engine is started with. Raises SetupError where there is no such placement or model."""
    from airboss.replicas.placing import settings_of  # noqa: PLC0415 - replicas' own

    if placement is not None:
        found = next((each for each in ledger.placements() if each.id == placement), None)
        if found is None:
            raise SetupError(f"no replica {placement!r} is placed; see `airboss replica list`.")
        return settings_of(found)
    chosen = applied_config(ledger, data).models.get(model)
    if chosen is None:
        raise SetupError(f"the configuration in force has no model {model!r}; see `airboss export`.")
    return chosen


async def serve_console(
    desk: Desk, listener: socket.socket, tls: TlsConfig | None, told: asyncio.Event
) -> None:
    """Serve the console on a listening socket until `told`; open pages do not hold it up."""
    import uvicorn  # noqa: PLC0415 - the controller's own

    from airboss.console.app import build  # noqa: PLC0415 - as above
    from airboss.console.protocol import BoundedProtocol  # noqa: PLC0415 - as above

    class Server(uvicorn.Server):
        """Leaves signals alone: the controller handles them."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    app, context = build(desk), tls_context(tls)
    server = Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ssl_context_factory=None if context is None else lambda *_: context,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(told.wait())
    async with renewing(tls, context):
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        app.state.live.close()
        server.should_exit = True
        stopping.cancel()
        await serving


def inherited_listener() -> socket.socket | None:
    """The listening socket that the supervisor handed down, if one did."""
    number = os.environ.pop(fleet.LISTEN_ENV, None)
    return socket.socket(fileno=int(number)) if number is not None else None


def terminate_self() -> None:
    """Stop as for SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)
