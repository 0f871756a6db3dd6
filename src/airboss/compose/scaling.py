"""The thread of the controller that sees to engines: how many, and whether the plan points to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airboss.compose.parts import SystemClock, counts_of, publish
from airboss.compose.threads import at_work
from airboss.store.datadir import DataDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from airboss.domain.ports import Ledger
    from airboss.telemetry.remote import Nodes

COUNTS = "scaling"
"""The name under which what it counts stands among the metrics."""


@contextmanager
def scaling(ledger: Ledger, data: DataDir, nodes: Nodes, *, broke: Callable[[], None]) -> Iterator[None]:
    """Engines are seen to until the end of the block. `broke` is called if that ends by a defect."""
    from airboss.controller.scaling import Scaler  # noqa: PLC0415 - the controller's own

    def republish() -> None:
        text = ledger.config()
        if text is not None:
            publish(ledger, data, text, "the configuration in force", retry_failed=False)

    scaler = Scaler(
        ledger,
        counts=counts_of(data, nodes, but=COUNTS),
        republish=republish,
        metrics=data.metrics_dir / f"{COUNTS}.json",
        clock=SystemClock(),
    )
    with at_work({"scaling": scaler.run}, broke=broke):
        yield
