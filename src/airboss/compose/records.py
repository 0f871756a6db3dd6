"""Where records are kept: what `[store] records` means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airboss.compose.parts import applied_config, open_ledger
from airboss.compose.sealing import Opening
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir, resolved

if TYPE_CHECKING:
    from airboss.store.span_rows import TracedLog


def record_log(data: DataDir, said: str | None = None) -> TracedLog:
    """The record log that is `said`; by default that of the configuration in force, DuckDB's before there is
    one."""
    said = said or named(data)
    if said == "embedded":
        from airboss.store.duckdb import DuckDBRecordLog  # noqa: PLC0415 - DuckDB, where it is used

        kept = DuckDBRecordLog(data.records_path)
        kept.texts = Opening(data)
        return kept
    from airboss.store.clickhouse import ClickHouseRecordLog  # noqa: PLC0415 - where it is used

    try:
        house = ClickHouseRecordLog(resolved(said))
    except ValueError as error:
        raise SetupError(f"[store] records names no ClickHouse: {error}") from error
    house.texts = Opening(data)
    return house


def record_log_or_none(data: DataDir) -> TracedLog:
    """As `record_log`; where it is not known here which is meant, one that is away and says why. So what does
    not need it can be asked of a stopped Airboss, and a configuration applied that names another."""
    try:
        return record_log(data)
    except SetupError as error:
        from airboss.store.client import StoreClient  # noqa: PLC0415 - only then

        return StoreClient(data.socket_path, away=str(error))


def named(data: DataDir) -> str:
    """What the configuration in force says."""
    with open_ledger(data) as ledger:
        return applied_config(ledger, data).store.records if ledger.config() is not None else "embedded"
