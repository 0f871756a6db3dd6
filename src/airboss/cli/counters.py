"""`airboss counters`: limits and budgets counted for several gateways, as one process."""

from __future__ import annotations

from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, LogFormatOption


def counters(*, data_dir: DataDirOption = DEFAULT_DATA_DIR, log_format: LogFormatOption = None) -> None:
    """Count limits and budgets for several gateways, on a unix socket in the data directory."""
    from airboss.compose.counting import run_counters  # noqa: PLC0415 - loads what only this role needs

    run_counters(data_dir, log_format=log_format)
