"""A scorer of the operator's own: a Python function from a file or a module."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import msgspec

from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.providers.cut import cut
from airboss.store.opinions import check_value

COMMENT_CHARS_MAX: Final = 500
HUNG_MAX: Final = 3
"""A thread cannot be ended from outside, so after so many that did not return no more are begun."""


class PythonFunction(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="python",
    tag_field="kind",
    forbid_unknown_fields=True,
):
    """`function` is `FILE.py:NAME` or `MODULE:NAME`; `open_function` loads it.

    It is called with two dicts, the item (`id`, `input`, `expected`, `tags`) and the answer (`text`,
    `output_tokens`, `latency_ms`, …), in a thread of its own, and returns a number, a bool, a label, or a
    pair of one of these and a comment. What it raises, None, and silence for `timeout_s` make the item
    unscored. It runs with all rights of this process: name only functions that you trust.
    """

    function: str
    name: str = "python"
    low: float | None = None
    high: float | None = None
    higher_is_better: bool = True
    timeout_s: float = 10.0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What `low` and `high` promise."""
        return None if self.low is None or self.high is None else (self.low, self.high)


class FunctionScorer:
    """A loaded function as a `Scorer`."""

    kind: ClassVar[str] = "python"

    def __init__(self, spec: PythonFunction, function: Callable[[Any, Any], Any]) -> None:
        self.name = spec.name
        self.bounds = spec.bounds
        self.higher_is_better = spec.higher_is_better
        self._spec = spec
        self._function = function
        self._hung = 0

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        if self._hung >= HUNG_MAX:
            return unscored(f"{self._spec.function} did not return {HUNG_MAX} times and is called no more")
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[Any] = loop.create_future()
        arguments = (msgspec.to_builtins(item), msgspec.to_builtins(answer))

        def report(set_it: Callable[[Any], None], value: Any) -> None:
            if not returned.done():
                set_it(value)

        def work() -> None:
            try:
                value = self._function(*arguments)
            except BaseException as error:  # noqa: BLE001 - SystemExit too: it must not end an evaluation
                done = (returned.set_exception, RuntimeError(f"{type(error).__name__}: {error}"))
            else:
                done = (returned.set_result, value)
            if not loop.is_closed():
                loop.call_soon_threadsafe(report, *done)

        # A daemon, so that one that hangs does not keep the program from ending.
        threading.Thread(target=work, daemon=True, name=f"scorer-{self.name}").start()
        try:
            value = await asyncio.wait_for(returned, self._spec.timeout_s)
        except TimeoutError:
            self._hung += 1
            return unscored(f"{self._spec.function} did not return within {self._spec.timeout_s} s")
        except RuntimeError as error:
            return unscored(f"{self._spec.function} raised {error}")
        return self._read(value)

    def _read(self, value: Any) -> Mark:
        comment = None
        if isinstance(value, tuple) and len(value) == 2:
            value, comment = value
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, bool | float | str):
            return unscored(f"{self._spec.function} returned no number, bool or label: {value!r}")
        try:
            check_value(value)
        except InvalidRequest as error:
            return unscored(f"{self._spec.function} returned no number, bool or label: {error}")
        return scored(value, cut(str(comment), COMMENT_CHARS_MAX) if comment is not None else None)


def open_function(spec: PythonFunction) -> FunctionScorer:
    """Load the function. Raises WrongCall where it cannot be, with what its file raised."""
    place, colon, name = spec.function.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise WrongCall(f"{spec.function!r} is no function; write FILE.py:NAME or MODULE:NAME")
    if (spec.low is None) != (spec.high is None):
        raise WrongCall(f"scorer {spec.name!r} has one of `low` and `high`; give both, or neither")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        function = getattr(module, name)
    except Exception as error:
        raise WrongCall(f"{spec.function} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise WrongCall(f"{spec.function} is no plain function of an item and an answer")
    return FunctionScorer(spec, function)


def _from_file(path: Path) -> ModuleType:
    """The module in a file, loaded anew, under a name that hides no other module."""
    name = f"airboss_scorer_{path.stem}_{abs(hash(path.resolve()))}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickles look for their module there
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
