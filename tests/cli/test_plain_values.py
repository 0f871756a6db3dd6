"""Plain values of options are what typer makes of them, without what it loads for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer import core

from airboss.cli.plain_values import NOT_PLAIN, Reader, plain

INTS = [
    "0",
    "7",
    "007",
    "64",
    "65",
    "-1",
    "+3",
    "1_0",
    " 1",
    "1.0",
    "x",
    "",
    "9" * 19,
    "٣",
    8,
    65,
    True,
    None,
]
FLOATS = ["0", "0.5", ".5", "5.", "1e3", "nan", "inf", "-0.5", "1.5", "1.0", "x", "", 0.25, 1.5, 3, None]
TEXTS = ["", "a b", "🚀", "none", 5, None]
LISTS = [(), ("a",), ("a", ""), ["a", "b"], ("a", 5), None]
PATHS = ["", ".", "/", "there", "nowhere", "closed", "a\0b", Path("there"), Path("nowhere"), 5, None]
VALUES: dict[str, list[Any]] = {
    "whole": INTS,
    "bounded": INTS,
    "share": FLOATS,
    "text": TEXTS,
    "texts": LISTS,
    "path": PATHS,
    "file": PATHS,
    "known": PATHS,
}


@pytest.fixture(scope="module")
def command() -> core.TyperCommand:
    """A verb with an option of every kind."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def verb(
        *,
        whole: Annotated[int, typer.Option()] = 0,
        bounded: Annotated[int, typer.Option(min=0, max=64)] = 1,
        share: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
        text: Annotated[str | None, typer.Option()] = None,
        texts: Annotated[list[str] | None, typer.Option()] = None,
        path: Annotated[Path, typer.Option()] = Path(),
        file: Annotated[Path | None, typer.Option(dir_okay=False)] = None,
        known: Annotated[Path | None, typer.Option(exists=True)] = None,
    ) -> None:
        """Nothing: its options are looked at."""

    made = typer.main.get_command(app)
    assert isinstance(made, core.TyperCommand)
    return made


@pytest.mark.parametrize("name", VALUES)
def test_values_are_what_typer_makes_of_them(
    command: core.TyperCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And what is wrong with others is told as typer does."""
    monkeypatch.chdir(tmp_path)
    for made in ("there", "closed"):
        Path(made).touch()
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "closed")  # root may read all
    (option,) = (each for each in command.params if each.name == name)
    made_by: Any = core
    own = made_by.build_runtime_param(vars(option)["type_descriptor"])
    context = typer.Context(command)

    def told(reader: Any, value: Any) -> Any:
        try:
            found = reader.coerce(value, param=option, ctx=context)
        except (typer.BadParameter, ValueError) as error:
            return type(error), str(error)
        return type(found), found

    for value in VALUES[name]:
        assert told(Reader(lambda: own), value) == told(own, value), value
    plainly = [value for value in VALUES[name] if plain(value, option) is not NOT_PLAIN]
    assert name in {"file", "known"} or len(plainly) > 1, "it reads none of them"


def test_an_option_of_a_typer_that_is_not_known_is_read_by_it() -> None:
    """A newer one may say otherwise what an option takes; then verbs start as late as they did."""

    class Typers:
        def coerce(self, value: str, **_: object) -> str:
            return f"typer's {value}"

    assert Reader(Typers).coerce("7", param=object(), ctx=None) == "typer's 7"


@pytest.mark.parametrize(
    "verb",
    ["version", "status", "records --limit 3 --since 1h --by model", "keys list", "diff nothing.toml"],
)
def test_a_verb_loads_no_pydantic(verb: str, tmp_path: Path) -> None:
    """It would take as long as all else of its start."""
    code = (
        "import sys\nfrom airboss.cli.main import main\n"
        f"try: main({[*verb.split()]!r})\n"
        "finally: print('pydantic' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "False", done.stderr
