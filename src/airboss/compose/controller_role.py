"""The controller as a process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from airboss.compose.background import give_way
from airboss.compose.certificates import renewing
from airboss.compose.counting import adding_up
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
    own_keys,
    redactor,
    role_lock,
    tls_context,
)
from airboss.compose.process_limits import fit_limits
from airboss.compose.rollouts import rollouts
from airboss.compose.scaling import scaling
from airboss.compose.sealing import open_ring, sealed
from airboss.compose.stores import open_rollouts, open_stores
from airboss.compose.threads import at_work
from airboss.compose.watching import lost, watching
from airboss.config import TlsConfig
from airboss.console.app import build
from airboss.console.protocol import BoundedProtocol
from airboss.controller.loop import Controller
from airboss.controller.mover import Mover
from airboss.store.client import StoreClient
from airboss.store.datadir import DataDir
from airboss.store.ledger_lead import leading
from airboss.store.stopping import tell_of_signals
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves, terminate_self
from airboss.supervisor.listen import check_exposure, listen
from airboss.telemetry import logs

if TYPE_CHECKING:
    from airboss.console.desk import Desk


def run_controller(
    data_dir: Path, *, host: str, console_port: int, insecure: bool, log_format: str | None
) -> None:
    """The controller, until SIGTERM or the supervisor's end."""
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
            tell_of_signals(asyncio.get_running_loop(), stop)
            tell_it_serves(asyncio.get_running_loop())
            await controller.run(lambda told: serve_console(desk, listener, config.tls, told), stop)

        with (
            found_alone(data, listener, host, config.tls),
            working(
                stores.jobs,
                handlers(ledger, data, stores, records, redact=redact.text, propose=live.propose),
                redact=redact.text,
                broke=terminate_self,
            ),
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


async def serve_console(
    desk: Desk, listener: socket.socket, tls: TlsConfig | None, told: asyncio.Event
) -> None:
    """Serve the console on a listening socket until `told`; open pages do not hold it up."""

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
