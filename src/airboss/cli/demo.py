"""`airboss demo`: generated traffic, and a story told in verbs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from airboss.cli.options import DEFAULT_DATA_DIR, JsonOption
from airboss.cli.output import print_json
from airboss.domain.errors import AirbossError, SetupError, WrongCall
from airboss.store.unwritable import unwritable
from airboss.supervisor.lifeline import LIFELINE_ENV, Lifeline

MARK = "# Written by `airboss demo`."
STOP_S = 60.0
LOG = "up.log"
ENDED_CODES = (0, 130)
"""Of SIGTERM and of Ctrl-C."""


def demo(
    *,
    directory: Annotated[
        Path,
        typer.Option("--dir", help="Where the demo's configuration and data go; made anew by each demo."),
    ] = Path("airboss-demo"),
    port: Annotated[int, typer.Option(help="Port of the data plane.", min=0, max=65535)] = 8700,
    console_port: Annotated[int, typer.Option(help="Port of the console.", min=0, max=65535)] = 8701,
    stay: Annotated[bool, typer.Option("--stay/--exit", help="Go on serving after the story.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Watch the whole circle on the starter model: rollout, rollback, tuning, promotion, erasure, audit.

    Starts an Airboss of its own with generated traffic; everything can be watched in its console. With --json
    one object a line, and it ends after the story.
    """
    from airboss.controller.starter import STARTER_SHA256, STARTER_SOURCE  # noqa: PLC0415 - only here
    from airboss.demo.story import GOOD, Event, Story, configuration  # noqa: PLC0415 - as above

    configured = partial(configuration, source=STARTER_SOURCE, sha256=STARTER_SHA256)
    prepare(directory, configured(GOOD), STARTER_SHA256)
    shown: set[int] = set()

    def tell(event: Event) -> None:
        if as_json:
            print_json(msgspec.to_builtins(event))
            return
        if event.step not in shown:
            shown.add(event.step)
            sys.stdout.write(f"\n{event.step}. {event.title}\n")
        if event.command is not None:
            sys.stdout.write(f"   $ {event.command}\n")
        if event.text:
            sys.stdout.write(f"   {event.text}\n")
        sys.stdout.flush()

    with running(directory, port=port, console_port=console_port) as (ready, process):
        if as_json:
            print_json(ready)
        else:
            sys.stdout.write(
                f"Watch it at {ready['console_url']}\n"
                f"   admin key {ready['admin_key']}\n"
                f"   data in {directory}\n"
            )
        Story(data_dir=directory / ".airboss", ready=ready, tell=tell, configured=configured).run()
        if stay and not as_json:
            sys.stdout.write("\nStill serving; Ctrl-C ends it.\n")
            sys.stdout.flush()
            until_ended(process, directory)


def prepare(directory: Path, text: str, sha256: str) -> None:
    """An empty folder with the configuration, and the weights where another Airboss here has them.

    Raises WrongCall for a folder that is not a demo's, SetupError for one that cannot be written.
    """
    config = directory / "airboss.toml"
    weights = directory / ".airboss" / "weights"
    try:
        if directory.exists() and any(directory.iterdir()):
            if not config.is_file() or not config.read_text("utf-8", "replace").startswith(MARK):
                raise WrongCall(f"{directory} is not empty and not a demo's; name another folder with --dir")
            shutil.rmtree(directory / ".airboss", ignore_errors=True)
        weights.mkdir(parents=True)
        config.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(directory, error) from error
    at_hand = DEFAULT_DATA_DIR / "weights" / f"{sha256}.gguf"
    if at_hand.is_file():
        with suppress(OSError):  # on another disk: then they are fetched
            os.link(at_hand, weights / at_hand.name)


@contextmanager
def running(
    directory: Path, *, port: int, console_port: int
) -> Iterator[tuple[Mapping[str, Any], subprocess.Popen[str]]]:
    """An `airboss up` in that folder, until the end of the block or SIGTERM; gives its ready line, and it."""

    def ended(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    # Its default would end this process alone, and leave what it started running.
    signal.signal(signal.SIGTERM, ended)
    command = [sys.executable, "-m", "airboss.cli.main", "up", "--json"]
    command += ["--config", str(directory / "airboss.toml"), "--data-dir", str(directory / ".airboss")]
    command += ["--port", str(port), "--console-port", str(console_port)]
    log = directory / LOG
    lifeline = Lifeline()  # so that it ends with this process, however that ends
    with log.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own verb
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, LIFELINE_ENV: str(lifeline.read_fd)},
            pass_fds=(lifeline.read_fd,),
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            said = log.read_text(errors="replace").strip()[-1000:]
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            kind = SetupError if process.returncode == SetupError.exit_code else AirbossError
            raise kind(f"the demo's Airboss did not start, as {log} says: {why(said)}")
        yield json.loads(line), process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        lifeline.close()


def until_ended(process: subprocess.Popen[str], directory: Path) -> None:
    """Wait for Ctrl-C, or for somebody who ends that `airboss up`. Raises AirbossError if it fails."""
    with suppress(KeyboardInterrupt):
        code = process.wait()
        if code not in ENDED_CODES:
            raise AirbossError(f"the demo's Airboss ended with exit code {code}; {directory / LOG} says why")
        sys.stdout.write("Its Airboss was ended.\n")


def why(said: str) -> str:
    """The message of the error that `up --json` ended with; of another end, all that it said."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(said.rpartition("\n")[2])["error"]["message"])
    return said
