"""One role as `airboss up` starts it: what the verb of that name runs, without loading the other verbs and
their parser, which take longer than most roles do.

Usage: `python -m airboss.cli.role ROLE --data-dir PATH …`, with the options of the verb.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from airboss.cli.ending import leave, told

ROLES = ("gateway", "controller", "store", "counters", "replica", "ray")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it to its end; exit codes are those of the command."""
    with told(as_json=False):
        run(parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """What a role may be given."""
    made = argparse.ArgumentParser(allow_abbrev=False)
    made.add_argument("role", choices=ROLES)
    made.add_argument("--data-dir", type=Path, required=True)
    made.add_argument("--host")
    made.add_argument("--port", type=int)
    made.add_argument("--console-port", type=int)
    made.add_argument("--join")
    made.add_argument("--worker", type=int)
    made.add_argument("--insecure", action="store_true")
    made.add_argument("--model")
    made.add_argument("--placement")
    return made


def run(given: argparse.Namespace) -> None:
    """The role that is asked for, and none of the others loaded. How it logs is in the environment."""
    data_dir, exposed = given.data_dir, {"host": given.host, "insecure": given.insecure}
    match given.role:
        case "gateway":
            from airboss.compose.gateway_role import run_gateway  # noqa: PLC0415 - this role's own

            run_gateway(data_dir, port=given.port, worker=given.worker, log_format=None, **exposed)
        case "controller" if given.join is not None:
            from airboss.compose.joining import run_joined_controller  # noqa: PLC0415 - as above

            run_joined_controller(data_dir, given.join, log_format=None)
        case "controller":
            from airboss.compose.controller_role import run_controller  # noqa: PLC0415 - as above

            run_controller(data_dir, console_port=given.console_port, log_format=None, **exposed)
        case "store":
            from airboss.compose.store_role import run_store  # noqa: PLC0415 - as above

            run_store(data_dir, log_format=None)
        case "counters":
            from airboss.compose.counting import run_counters  # noqa: PLC0415 - as above

            run_counters(data_dir, log_format=None)
        case "replica":
            from airboss.compose.replica_role import run_replica  # noqa: PLC0415 - as above

            engine = {"model": given.model, "port": given.port, "placement": given.placement}
            run_replica(data_dir, log_format=None, **engine)
        case _:
            from airboss.compose.ray import run_ray  # noqa: PLC0415 - an extra

            run_ray(data_dir, log_format=None)


if __name__ == "__main__":
    leave(main)
