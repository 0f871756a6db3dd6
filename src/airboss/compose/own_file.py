"""The operator's file beside the configuration in force: whether it says the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airboss.config import parse_config
from airboss.config.files import read_config
from airboss.config.found import as_in_force
from airboss.domain.errors import ConfigError

if TYPE_CHECKING:
    from airboss.console.desk import OwnFile
    from airboss.domain.ports import Ledger
    from airboss.store.datadir import DataDir


def differs(applied: str, text: str, data: DataDir, source: str) -> bool:
    """Whether two configurations say something else; one that cannot be read does."""
    from airboss.controller.publish import without_literal_keys  # noqa: PLC0415 - later starts only

    try:
        text = as_in_force(text, applied, source=source)
        return without_literal_keys(text, source=source, data=data)[1] != parse_config(applied, source="")
    except ConfigError:
        return True


def own_file(ledger: Ledger, data: DataDir, path: str) -> OwnFile | None:
    """How the file that `airboss up` was given stands to what is in force; None where none was given."""
    from airboss.console.desk import OwnFile  # noqa: PLC0415 - not for `up`

    if not path:
        return None
    if not Path(path).is_file():  # nor is a pipe read, which would wait for a writer
        return OwnFile(path=path, state="gone")
    try:
        text = read_config(Path(path))
    except (OSError, ConfigError):
        return OwnFile(path=path, state="unreadable")
    other = differs(ledger.config() or "", text, data, path)
    return OwnFile(path=path, state="differs" if other else "same")
