"""`airboss store`: the record log, as one process."""

from __future__ import annotations

from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, LogFormatOption


def store(*, data_dir: DataDirOption = DEFAULT_DATA_DIR, log_format: LogFormatOption = None) -> None:
    """Run the record store, on a unix socket in the data directory."""
    from airboss.compose.store_role import run_store  # noqa: PLC0415 - loads what only this role needs

    run_store(data_dir, log_format=log_format)
