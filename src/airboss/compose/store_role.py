"""The store as a process, which loads neither what other roles need nor an event loop."""

from __future__ import annotations

import os
from pathlib import Path

from airboss.compose.background import give_way
from airboss.compose.parts import role_lock
from airboss.compose.process_limits import fit_limits
from airboss.compose.records import record_log
from airboss.store.datadir import DataDir
from airboss.store.service import serve
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves, terminate_self
from airboss.supervisor.variables import RECORDS_ENV
from airboss.telemetry import logs


def run_store(data_dir: Path, *, log_format: str | None) -> None:
    """The record store, until SIGTERM or the supervisor's end."""
    logs.configure("store", log_format=log_format)
    fit_limits()
    data = DataDir(data_dir)
    with role_lock(data):
        on_parent_gone(terminate_self)
        records = record_log(data, os.environ.pop(RECORDS_ENV, None))
        give_way(session=True)
        serve(records, data.socket_path, ready=tell_it_serves)
