"""A release's prompt in a request: variables filled in, examples placed. Pure.

`{{ name }}` in a template stands for a variable that the caller sends in `prompt_variables`. Nothing else in
a template has a meaning, and what a variable holds is text: it is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airboss.domain.errors import InvalidRequest
from airboss.domain.release import Release

_VARIABLE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")

Turn = dict[str, str]
"""A message: `role` and `content`."""


def variables_in(template: str) -> frozenset[str]:
    """The names that a template asks for."""
    return frozenset(_VARIABLE.findall(template))


def fill(template: str, variables: Mapping[str, str]) -> str:
    """The template with its variables filled in. Raises InvalidRequest naming those that are missing."""
    missing = sorted(variables_in(template) - variables.keys())
    if missing:
        raise InvalidRequest(
            f"the prompt of this deployment needs prompt_variables {missing}, and has {sorted(variables)}; "
            "send the missing ones",
            code="prompt_variable_missing",
            param="prompt_variables",
        )
    return _VARIABLE.sub(lambda found: variables[found[1]], template)


def leading_messages(release: Release, variables: Mapping[str, str]) -> list[Turn]:
    """The messages that go before the client's own; empty for a release without prompt and examples.

    Raises InvalidRequest for a missing variable.
    """
    system = fill(release.prompt, variables) if release.prompt is not None else ""
    turns: list[Turn] = []
    if release.form == "system" and release.examples:
        shown = [f"Input: {e.input}\nOutput: {e.output}" for e in release.examples]
        system = "\n\n".join(filter(None, (system, *shown)))
    else:
        for example in release.examples:
            turns.append({"role": "user", "content": example.input})
            turns.append({"role": "assistant", "content": example.output})
    return [{"role": "system", "content": system}, *turns] if system else turns
