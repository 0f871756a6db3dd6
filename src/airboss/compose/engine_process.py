"""One engine as a process of its own, told what to run by one argument: for hosts other than this machine's
supervisor. `python -m airboss.compose.engine_process JSON`, of a `replicas.order.Order`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from airboss.domain.errors import SetupError
from airboss.replicas.llamacpp import serve
from airboss.replicas.order import Order
from airboss.replicas.weights import fetch


def main(text: str) -> None:
    """Fetch the weights if need be, and serve until ended. Exits with 1 or 2 and a message if it cannot."""
    order = msgspec.json.decode(text, type=Order)
    said = order.settings
    try:
        serve(
            weights=fetch(said.model, said.sha256, Path(order.weights).expanduser()),
            port=order.port,
            alias=order.model,
            context_tokens=said.context_tokens,
            slots=said.slots,
            threads=said.threads,
        )
    except SetupError as error:
        sys.stderr.write(f"airboss: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1])
