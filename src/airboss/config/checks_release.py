"""The rules of releases: their prompt, their examples and their parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from airboss.config.inline import PROMPT_FILE
from airboss.config.params import KNOWN, OPENAI, misspelt
from airboss.config.types import Config, ReleaseConfig
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted, seen

_NOT_PARAMS: Final = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "input",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "prompt_variables",
    }
)
"""Members of a request that say what is asked, by whom and how it is sent; no release may change these."""
_EXAMPLES_MAX: Final = 200
_OWN_PARAMS: Final = frozenset({"openai-compatible", "local"})
"""Kinds of provider that may have parameters which nobody else has."""
_OPEN: Final = re.compile(r"\{\{(?![^{}]*\}\})(?=[ \t]*[A-Za-z_])[^{}\n]*")
_CLOSED: Final = re.compile(r"\{\{[^{}\n]*\}\}")
_VARIABLE: Final = re.compile(r"\{\{[ \t]*[A-Za-z_][A-Za-z0-9_]*[ \t]*\}\}")
_SHOWN_CHARS: Final = 40


def unclosed(prompt: str) -> str | None:
    """The first variable of a prompt that begins and does not end, as far as it goes. None: all are whole."""
    found = _OPEN.search(prompt)
    return found[0][:_SHOWN_CHARS].rstrip() if found else None


def check_release(path: Path, release: ReleaseConfig, config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken. Its model is known to be there."""
    prompt = release.prompt
    if prompt is not None and PROMPT_FILE.fullmatch(prompt):
        message = (
            f"{quoted(prompt)} names a file: write its text here, or use `airboss apply FILE`, which reads it"
        )
        raise wrong((*path, "prompt"), message)
    begun = unclosed(prompt or "")
    if begun is not None:
        at = (*path, "prompt")
        raise wrong(at, f"{dotted(at)}: {quoted(begun)} is not closed; write {{{{ name }}}} for a variable")
    if len(release.examples) > _EXAMPLES_MAX:
        raise wrong(
            (*path, "examples"),
            f"{len(release.examples)} examples, and a release has at most {_EXAMPLES_MAX}",
        )
    asked = [config.models[name].provider for name in config.asked(release.model)]
    own = any(config.providers[each].kind in _OWN_PARAMS for each in asked)
    for field, params in (("params", release.params), ("params_force", release.params_force)):
        for name, value in params.items():
            _check_param((*path, field, name), name, value, own=own, wrong=wrong)


def _check_param(path: Path, name: str, value: object, *, own: bool, wrong: Wrong) -> None:
    if name in _NOT_PARAMS:
        raise wrong(path, f"{dotted(path)}: {quoted(name)} is the request's own; leave it out")
    if not _is_json(value):
        raise wrong(path, f"{dotted(path)} is {value!r}, which JSON cannot say; write text or a number")
    rule = KNOWN.get(name)
    if rule is None:
        meant = misspelt(name)
        if meant is not None:
            raise wrong(
                path, f"{dotted(path)}: no parameter is called {quoted(name)}; did you mean {quoted(meant)}?"
            )
        if not own:
            hint = nearest(name, OPENAI)
            raise wrong(path, f"{dotted(path)}: no parameter is called {quoted(name)}; {hint}")
    elif not rule.takes(value):
        raise wrong(path, f"{dotted(path)} is {seen(value)}; expected {rule.expected}")


def oddities_of(config: Config) -> Iterator[str]:
    """What a checked release may say but is perhaps a slip; each fit to be shown to a person."""
    for name, release in config.releases.items():
        path = ("releases", name)
        for each in dict.fromkeys(_CLOSED.findall(release.prompt or "")):
            if not _VARIABLE.fullmatch(each):
                yield (
                    f"{dotted((*path, 'prompt'))}: {quoted(each)} names no variable and is sent as it "
                    "stands; a variable is one word, {{ name }}"
                )
        for field, params in (("params", release.params), ("params_force", release.params_force)):
            for param in params:
                if param not in KNOWN:
                    where = dotted((*path, field, param))
                    yield f"{where}: no parameter of this name is known here; it is sent as it stands"


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float | Decimal):
        return math.isfinite(value)
    return isinstance(value, str | bool | int)
