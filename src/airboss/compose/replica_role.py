"""A replica as a process: one engine of a local model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airboss.compose.engines import serve_model
from airboss.compose.parts import applied_config, open_ledger
from airboss.compose.process_limits import fit_limits
from airboss.config import ModelConfig
from airboss.domain.errors import SetupError, WrongWeights
from airboss.replicas.placing import read_settings
from airboss.store.datadir import DataDir, private
from airboss.supervisor.lifeline import LIFELINE_ENV, on_parent_gone
from airboss.supervisor.restart import USELESS_CODE
from airboss.supervisor.variables import ENGINE_ENV
from airboss.telemetry import logs


def run_replica(
    data_dir: Path, *, model: str, port: int, placement: str | None, log_format: str | None
) -> None:
    """One engine of a local model, until SIGTERM or the supervisor's end. Fetches the weights if need be.

    It is started with what `placement` says, which may be older than the configuration in force; with None
    with what that says of the model. To a supervisor it says by its exit code that another try cannot help.
    """
    logs.configure(f"replica-{placement or model}", log_format=log_format)
    fit_limits()
    supervised = LIFELINE_ENV in os.environ
    on_parent_gone(lambda: os._exit(0))  # an engine saves nothing, and may be deep in C++ for long
    data = DataDir(data_dir)
    said = os.environ.pop(ENGINE_ENV, None)
    chosen = engine_settings(data, model, placement) if said is None else read_settings(said)
    try:
        with private():
            serve_model(chosen, weights_dir=data.weights_dir, port=port, alias=model)
    except WrongWeights as error:
        if not supervised:
            raise
        sys.stderr.write(f"airboss: {error}\n")
        sys.exit(USELESS_CODE)


def engine_settings(data: DataDir, model: str, placement: str | None) -> ModelConfig:
    """What an engine is started with of which nobody says it. Raises SetupError where there is no such
    placement or model."""
    with open_ledger(data) as ledger:
        if placement is not None:
            found = next((each for each in ledger.placements() if each.id == placement), None)
            if found is None:
                raise SetupError(f"no replica {placement!r} is placed; see `airboss replica list`.")
            return read_settings(found.settings)
        chosen = applied_config(ledger, data).models.get(model)
    if chosen is None:
        raise SetupError(f"the configuration in force has no model {model!r}; see `airboss export`.")
    return chosen
