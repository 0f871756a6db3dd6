"""Scorers from what an operator writes: a table, or a word on a command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.score import SCORE_NAME
from airboss.evaluations.ports import Caller, Target
from airboss.evaluations.scorers.base import Scorer
from airboss.evaluations.scorers.contains import Contains
from airboss.evaluations.scorers.cost import Cost
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.json_schema import JsonSchema
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.length import Length
from airboss.evaluations.scorers.llm_judge import JudgeScorer, LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PairwiseScorer
from airboss.evaluations.scorers.python_function import PythonFunction, open_function
from airboss.evaluations.scorers.refusal import Refusal
from airboss.evaluations.scorers.regex import Regex
from airboss.evaluations.scorers.tool_calls import ToolCalls

Plain: TypeAlias = Exact | Contains | Regex | JsonSchema | Length | Latency | Cost | Refusal | ToolCalls
"""Specs that are scorers themselves."""

Spec: TypeAlias = Plain | PythonFunction | LlmJudge | PairwiseJudge
"""Every scorer as it is written down; `kind` tells them apart."""

KINDS: Final[dict[str, str | None]] = {
    "exact": None,
    "contains": "texts",
    "regex": "pattern",
    "json_schema": "schema",
    "length": "unit",
    "latency": "most_ms",
    "cost": "most_usd",
    "refusal": None,
    "tool_calls": "arguments",
    "python": "function",
    "llm_judge": "deployment",
    "pairwise_judge": "deployment",
}
"""Each kind with the field that what follows its colon goes to."""

NAMED: Final = re.compile(r"([A-Za-z][\w.-]{0,63})=")
"""What stands before a scorer with a name of its own."""


def read_spec(text: str, *, load: Callable[[str], str]) -> Spec:
    r"""A scorer as it is written on a command line: `exact`, `regex:^\d+$`, `json_schema:answer.json`,
    `python:tone.py:score`, `llm_judge:grader`, or a JSON object with `kind`; `polite=contains:please` gives
    it a name of its own.

    `load` gives the text of a file (that of a schema). Raises WrongCall saying what is wrong.
    """
    if text.lstrip().startswith("{"):
        try:
            return spec_from(msgspec.json.decode(text))
        except msgspec.DecodeError as error:
            raise WrongCall(f"the scorer {text[:80]!r} is no JSON object: {error}") from error
    named = NAMED.match(text)
    kind, colon, argument = text[named.end() if named is not None else 0 :].partition(":")
    field = KINDS.get(kind)
    table: dict[str, Any] = {"kind": kind} | ({"name": named[1]} if named is not None else {})
    if colon and kind in KINDS:
        if field is None or not argument:
            raise WrongCall(f"the scorer {text!r}: {kind} takes {field or 'nothing'} after `:`")
        table[field] = argument
        if kind == "json_schema":
            try:
                table[field] = msgspec.json.decode(load(argument))
            except msgspec.DecodeError as error:
                raise WrongCall(f"{argument} is no JSON: {error}") from error
        elif kind == "contains":
            table[field] = [argument]
    return spec_from(table)


def spec_from(table: object) -> Spec:
    """A scorer from its table. Raises WrongCall saying what is wrong, with the nearest kind."""
    kind = table.get("kind") if isinstance(table, dict) else None
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        raise WrongCall(
            f"no scorer is of kind {kind!r}; there are {', '.join(KINDS)}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    try:
        found: Spec = msgspec.convert(table, Spec, strict=False)
    except msgspec.ValidationError as error:
        raise WrongCall(f"the scorer of kind {kind!r}: {error}") from error
    return found


def check_named(spec: Spec) -> None:
    """Raise WrongCall for a scorer whose name no score can have (`SCORE_NAME`)."""
    if SCORE_NAME.fullmatch(spec.name) is None:
        raise WrongCall(
            f"a scorer is called {spec.name[:80]!r}; use a letter, then letters, digits, _ . or -; at most 64"
        )


def open_scorer(
    spec: Spec, *, caller: Caller, resolve: Callable[[str], Target], folder: Path
) -> Scorer | PairwiseScorer:
    """A scorer that is ready. `resolve` gives the release that a judge's deployment serves now; `folder` is
    what the path of a Python file is relative to. Raises WrongCall as these do."""
    match spec:
        case LlmJudge():
            return JudgeScorer(spec, resolve(spec.deployment), caller)
        case PairwiseJudge():
            return PairwiseScorer(spec, resolve(spec.deployment), caller)
        case PythonFunction():
            place, _, name = spec.function.rpartition(":")
            if place.endswith(".py"):
                spec = msgspec.structs.replace(spec, function=f"{folder / place}:{name}")
            return open_function(spec)
        case _:
            return spec
