"""Where records are kept: what `[store] records` means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airboss.compose.parts import applied_config, open_ledger
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir, read_secret

if TYPE_CHECKING:
    from airboss.store.span_rows import TracedLog


def record_log(data: DataDir) -> TracedLog:
    """The record log that the configuration in force names; DuckDB's before there is one."""
    with open_ledger(data) as ledger:
        said = applied_config(ledger, data).store.records if ledger.config() is not None else "embedded"
    if said == "embedded":
        from airboss.store.duckdb import DuckDBRecordLog  # noqa: PLC0415 - DuckDB, where it is used

        return DuckDBRecordLog(data.records_path)
    from airboss.store.clickhouse import ClickHouseRecordLog  # noqa: PLC0415 - where it is used

    url = named_url(said)
    try:
        return ClickHouseRecordLog(url)
    except ValueError as error:
        raise SetupError(f"[store] records names no ClickHouse: {error}") from error


def named_url(said: str) -> str:
    """The URL that `[store] records` means. Raises SetupError where there is none."""
    if said.startswith("env:"):
        found = os.environ.get(said.removeprefix("env:"), "")
        if not found:
            raise SetupError(f"[store] records is {said!r}, and that variable is not set; set it to a URL")
        return found
    if said.startswith("file:"):
        return read_secret(Path(said.removeprefix("file:")))
    return said
