"""The servers that `[store]` names: whether this process knows where they are, and whether they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from airboss.compose.counting import valkey
from airboss.config import StoreConfig
from airboss.config.clickhouse import read_url
from airboss.domain.errors import AirbossError, SetupError
from airboss.store.daemons import Daemons
from airboss.store.datadir import resolved

APART_S: Final = 1.0
"""Clocks must agree within it."""
SILENT_S: Final = 10.0
"""So long they are waited for, all together."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking a server: the variable that is `unset`, `why` it cannot be used, or by how many
    seconds its clock is ahead of ours."""

    name: str
    unset: str | None = None
    why: str | None = None
    ahead_s: float = 0.0


def check_counters(store: StoreConfig) -> None:
    """Raise SetupError where it is not known here who counts limits, or he cannot be asked."""
    if store.counters != "embedded":
        valkey(store, "nobody")


def check_records(store: StoreConfig) -> None:
    """Raise SetupError where it is not known here which ClickHouse keeps records."""
    if store.records != "embedded":
        try:
            read_url(resolved(store.records))
        except ValueError as error:
            raise SetupError(f"[store] records names no ClickHouse: {error}") from None


def check_servers(store: StoreConfig) -> None:
    """Raise SetupError where it is not known here where records or counts go."""
    check_records(store)
    check_counters(store)


def unknown(store: StoreConfig) -> Iterator[str]:
    """What cannot be known here of where records and counts go, each with why."""
    for name, check in (("records", check_records), ("counters", check_counters)):
        try:
            check(store)
        except SetupError as error:
            yield f"store.{name}: {error}; without it the next `airboss up` does not start"


def asked(store: StoreConfig, *, ledger: str | None) -> Iterator[Seen]:
    """Each server asked for its clock, which needs what a start needs; `ledger` is the ledger's URL, or the
    reference to it, None where that is a file of the data directory."""
    clocks: dict[str, tuple[str, Callable[[str], float]]] = {}
    if ledger is not None and not ledger.startswith("sqlite:"):
        clocks["ledger"] = (ledger, _postgres)
    if store.records != "embedded":
        clocks["records"] = (store.records, _clickhouse)
    if store.counters != "embedded":
        clocks["counters"] = (store.counters, lambda _: valkey(store, "doctor").clock())
    threads, by = Daemons(len(clocks), "asked"), time.monotonic() + SILENT_S
    told = {name: threads.submit(_asked, name, *asking) for name, asking in clocks.items()}
    for name, each in told.items():
        try:
            yield each.result(max(0.0, by - time.monotonic()))
        except TimeoutError:
            yield Seen(name=name, why=f"the server has been silent for {SILENT_S:g} s")


def _asked(name: str, reference: str, clock: Callable[[str], float]) -> Seen:
    scheme, _, variable = reference.partition(":")
    if scheme == "env" and not os.environ.get(variable, "").strip():
        return Seen(name=name, unset=variable)
    return _seen(name, reference, clock)


def _seen(name: str, reference: str, clock: Callable[[str], float]) -> Seen:
    try:
        url, began = resolved(reference), time.time()
        theirs = clock(url)
    except (AirbossError, ValueError) as error:
        return Seen(name=name, why=str(error))
    # When in between it was read is not known, nor so any difference as small as that.
    return Seen(name=name, ahead_s=min(theirs - began, 0.0) + max(theirs - time.time(), 0.0))


def _postgres(url: str) -> float:
    from airboss.store.ledger_open import server_clock  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return server_clock(url)


def _clickhouse(url: str) -> float:
    from airboss.store.clickhouse_http import ClickHouse  # noqa: PLC0415 - where it is used

    client = ClickHouse(read_url(url))
    try:
        return client.clock()
    finally:
        client.close()
