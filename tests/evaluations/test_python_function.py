"""Scorers of the operator's own."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.marks import Mark
from airboss.evaluations.scorers.base import judged
from airboss.evaluations.scorers.python_function import FunctionScorer, PythonFunction, open_function
from tests.evaluations.support import item, said

SOURCE = """
import sys, threading
from dataclasses import dataclass

@dataclass
class Seen:
    text: str

def share(item, answer):
    seen = Seen(answer["text"])
    return len(seen.text) / 10, f"{item['id']} expects {item['expected']!r}"

def yes(item, answer):
    return True

def count(item, answer):
    return 3

def label(item, answer):
    return "formal"

def essay(item, answer):
    return "formal " * 20

def empty(item, answer):
    return ""

def none(item, answer):
    return None

def big(item, answer):
    return 7.5

def boom(item, answer):
    raise KeyError("gone")

def leave(item, answer):
    sys.exit(3)

def hang(item, answer):
    threading.Event().wait(30)

async def later(item, answer):
    return 1.0

thing = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file of functions."""
    path = tmp_path / "tone.py"
    path.write_text(SOURCE)
    return str(path)


def mark(function: str, **given: object) -> Mark:
    """What a function says."""
    scorer = open_function(PythonFunction(function=function, **given))  # type: ignore[arg-type]
    return asyncio.run(judged(scorer, item(expected="x"), said("abcd")))


def test_what_a_function_returns(file: str) -> None:
    """Numbers, yes or no, labels, and a comment beside them."""
    assert mark(f"{file}:share") == Mark(value=0.4, comment="q expects 'x'")
    assert mark(f"{file}:yes").value is True
    assert mark(f"{file}:count").value == 3.0
    assert mark(f"{file}:label").value == "formal"
    for wrong in ("essay", "empty"):
        assert "label of" in (mark(f"{file}:{wrong}").unscored or "")


def test_what_a_function_does_wrong_is_data(file: str) -> None:
    """Exceptions, an exit, None, and numbers beyond the promised range leave the item unscored."""
    assert mark(f"{file}:boom").unscored == f"{file}:boom raised KeyError: 'gone'"
    assert mark(f"{file}:leave").unscored == f"{file}:leave raised SystemExit: 3"
    assert "label: None" in (mark(f"{file}:none").unscored or "")
    assert "not within 0.0 to 1.0" in (mark(f"{file}:big", low=0.0, high=1.0).unscored or "")
    assert mark(f"{file}:big").value == 7.5


def test_a_function_that_hangs_is_left_behind(file: str) -> None:
    """It costs its time limit, no more; after three times it is called no more, and the program can end."""
    scorer = open_function(PythonFunction(function=f"{file}:hang", timeout_s=0.05))

    async def five(scorer: FunctionScorer) -> list[Mark]:
        return [await judged(scorer, item(), said()) for _ in range(5)]

    started = time.monotonic()
    causes = [each.unscored or "" for each in asyncio.run(five(scorer))]
    assert time.monotonic() - started < 20
    assert ["did not return within" in cause for cause in causes] == [True] * 3 + [False] * 2
    assert "is called no more" in causes[4]


def test_a_module_is_found_by_its_name() -> None:
    """What can be imported can be named without a file."""
    assert mark("operator:eq").value is False


def test_what_cannot_be_loaded_is_refused(file: str, tmp_path: Path) -> None:
    """Before any item: no such file, no such function, a file that raises, what is no plain function."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('no')")
    before = set(sys.modules)
    for function, said_of_it in (
        ("nothing", "write FILE.py:NAME"),
        (f"{tmp_path}/gone.py:f", "no file"),
        (f"{file}:gone", "AttributeError"),
        (f"{broken}:f", "RuntimeError: no"),
        (f"{file}:later", "plain function"),
        (f"{file}:thing", "plain function"),
    ):
        with pytest.raises(WrongCall, match=said_of_it):
            open_function(PythonFunction(function=function))
    assert not [name for name in set(sys.modules) - before if "broken" in name]
    with pytest.raises(WrongCall, match="give both"):
        open_function(PythonFunction(function=f"{file}:yes", low=0.0))
