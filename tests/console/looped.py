"""A console over a whole week of one Airboss (`tests.support.seed_loop`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette

from airboss.config import parse_config
from airboss.config.found import Ask
from airboss.console.app import build
from airboss.console.desk import Desk, nothing_lists
from airboss.store.parquet import as_parquet
from tests.console.site import ADMIN_KEY, BASE_URL, Noted, Site, people_keys
from tests.support.kept_keys import put_key
from tests.support.seed_loop import Loop


class LoopSite(Site):
    """A console over a `Loop`."""

    loop: Loop
    models_of: Ask = staticmethod(nothing_lists)

    def app(self) -> Starlette:
        """A fresh application."""
        desk = self.desk()
        self.hub = desk.live
        return build(desk)

    def desk(self) -> Desk:
        """What its pages are drawn from."""
        loop = self.loop
        return Desk(
            ledger=loop.ledger,
            log=self.log,
            admin_key=ADMIN_KEY,
            session_key="session-key-of-the-tests",
            clock=loop.clock,
            status=loop.status,
            apply=loop.rollouts.apply,
            base_url=BASE_URL,
            jobs=loop.jobs,
            evals=loop.evals,
            views=self.views,
            drifts=self.views,
            proposals=loop.proposals,
            in_force=lambda: parse_config(loop.ledger.config() or "", source="x"),
            parquet=as_parquet,
            orders=loop.orders,
            probes=cast("Any", None),
            scorings=cast("Any", None),
            tuning=cast("Any", None),
            finetuning=cast("Any", None),
            rollouts=loop.rollouts,
            audit=self.audit,
            people=self.people,
            prices=self.prices,
            alerts=loop.alerts,
            models_of=self.models_of,
            plays=self.plays,
        )


def looped(loop: Loop) -> LoopSite:
    """The console over it."""
    site = LoopSite(log=loop.log, alerts=loop.alerts, audit=Noted())
    site.loop = loop
    for key in people_keys():
        put_key(loop.ledger, key)
    return site


@contextmanager
def opened(folder: Path) -> Iterator[LoopSite]:
    """A console over a fresh Airboss, where nothing has happened yet."""
    loop = Loop(folder=folder)
    try:
        yield looped(loop)
    finally:
        loop.close()


def pressed(client: Any, path: str, **fields: str) -> Any:
    """A form sent as a browser sends it."""
    return client.post(path, data=fields, headers={"origin": "http://testserver"})
