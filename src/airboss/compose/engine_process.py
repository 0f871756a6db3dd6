"""One engine as a process of its own, told what to run by one argument: for hosts other than this machine's
supervisor. `python -m airboss.compose.engine_process JSON`, of a `replicas.order.Order`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from airboss.compose.engines import serve_model
from airboss.domain.errors import SetupError
from airboss.replicas.order import Order


def main(text: str) -> None:
    """Fetch the weights if need be, and serve until ended. Exits with 2 and a message if it cannot."""
    order = msgspec.json.decode(text, type=Order)
    try:
        folder = Path(order.weights).expanduser()
        serve_model(order.settings, weights_dir=folder, port=order.port, alias=order.model)
    except SetupError as error:
        sys.stderr.write(f"airboss: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1])
