"""`airboss probe`: bias, by the same questions about people who differ in one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.files import unreadable
from airboss.cli.follow_job import DetachOption, WaitOption, listed, ordered, shown, tell
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.probe_report import show_probe, show_probes
from airboss.domain.errors import WrongCall

probe = typer.Typer(
    help="Bias: the same questions about people who differ in one thing.", no_args_is_help=True
)

PROMPTS_BYTES_MAX = 8 * 1024 * 1024


@probe.command("bias")
def bias(
    *,
    deployment: Annotated[str, typer.Option(help="The deployment to ask.")],
    release: Annotated[
        str | None, typer.Option(help="A name or a digest, stable or candidate; its stable release.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="origin, gender, age or religion, or NAME:GROUP,GROUP; repeatable; all unless given."
        ),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Your own prompts, JSON Lines, in place of the project's.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only the project's prompts about this; repeatable.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="The most calls; what was asked before is free.")] = 1_000,
    margin: Annotated[
        list[str] | None,
        typer.Option(help="MEASURE=NUMBER: differences within it are called equivalent; repeatable."),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="How often an unbiased model may be said to have a bias.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the choice of questions and people.")] = 0,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="Of the answers.")] = 0.0,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer; 12, or 96 if free.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Calls at once.")] = 8,
    detach: DetachOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Ask the same questions about people who differ in one attribute only, and test whether answers differ.

    Each difference is held against what names of one and the same group make of it, tested exactly, and
    corrected for the number of tests. A difference that is shown: exit 1.

    It runs in the controller: neither Ctrl-C nor a crash ends it, and no answer is paid for twice.
    """
    order: dict[str, Any] = {
        "deployment": deployment,
        "release": release,
        "attributes": attribute or [],
        "topics": topic or [],
        "calls": calls,
        "margins": dict(read_margin(each) for each in margin or []),
        "alpha": alpha,
        "seed": seed,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "concurrency": concurrency,
    }
    if prompts is not None:
        order |= {"prompts": read_file(prompts), "source": str(prompts)}
    found = ordered("probes", order, detach=detach, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_probe, as_json=as_json)
    if found["report"]["conclusion"] == "found":
        raise typer.Exit(1)


@probe.command("list")
def list_probes(
    *,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List probes, newest first."""
    listed("probes", limit, data_dir=data_dir, url=url, as_json=as_json, show=show_probes)


@probe.command("show")
def show(
    probe_id: Annotated[str, typer.Argument(metavar="ID", help="The probe, as `probe list` names it.")],
    *,
    wait: WaitOption = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show what a probe found."""
    found = shown("probes", probe_id, wait=wait, data_dir=data_dir, url=url, as_json=as_json)
    tell(found, show_probe, as_json=as_json)


def read_margin(text: str) -> tuple[str, float]:
    """A margin as it is written. Raises WrongCall."""
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise WrongCall(f"--margin {text!r} is none; write MEASURE=NUMBER, such as decision=0.1") from None


def read_file(path: Path) -> str:
    """A file of prompts. Raises WrongCall."""
    try:
        with path.open("rb") as stream:
            content = stream.read(PROMPTS_BYTES_MAX + 1)
        if len(content) > PROMPTS_BYTES_MAX:
            raise WrongCall(f"{path} has more than {PROMPTS_BYTES_MAX:,} bytes; divide it")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
