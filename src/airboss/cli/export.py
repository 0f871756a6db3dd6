"""`airboss export`: the configuration in force."""

from __future__ import annotations

import sys

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import print_json
from airboss.domain.errors import WrongCall


def export(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Print the configuration that is being served, as `airboss apply` takes it."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/config")
    if found["config"] is None:
        raise WrongCall("no configuration has been applied yet; `airboss up` applies the starter.")
    if as_json:
        print_json(found)
    else:
        sys.stdout.write(found["config"])
