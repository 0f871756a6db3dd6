"""A release's prompt in a request: variables filled in, examples placed. Pure.

`{{ name }}` in a template stands for a variable that the caller sends in `prompt_variables`. Nothing else in
a template has a meaning, and what a variable holds is text: it is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from airboss.domain.errors import InvalidRequest
from airboss.domain.release import Release

_VARIABLE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")

Turn = dict[str, str]
"""A message: `role` and `content`."""

INPUT, OUTPUT = "Input:", "Output:"
"""What a raw prompt and shown examples call a user's turn and the assistant's."""
STOPS = (f"\n\n{INPUT}", f"\n{INPUT}")
"""Where a model that completes a raw prompt begins to write the next input itself."""


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
        shown = [f"{INPUT} {e.input}\n{OUTPUT} {e.output}" for e in release.examples]
        system = "\n\n".join(filter(None, (system, *shown)))
    else:
        for example in release.examples:
            turns.append({"role": "user", "content": example.input})
            turns.append({"role": "assistant", "content": example.output})
    return [{"role": "system", "content": system}, *turns] if system else turns


def raw_prompt(release: Release, variables: Mapping[str, str], messages: Iterable[Turn]) -> str:
    """The one prompt that a model completes (`form = "completion"`): the release's prompt text and the
    system messages that come first, then its examples and the conversation as `Input: …` and `Output: …`,
    ending in `Output:`, or in the assistant's own words where those come last and are to be gone on with.

    Raises InvalidRequest for a missing variable.
    """
    head = [fill(release.prompt, variables)] if release.prompt else []
    shown = [f"{INPUT} {example.input}\n{OUTPUT} {example.output}" for example in release.examples]
    said: list[str] = []
    last = ""
    for turn in messages:
        role, content = turn["role"], turn["content"]
        if role == "assistant":
            spoken = f"{OUTPUT} {content}" if content else OUTPUT
            if last == "user":
                said[-1] += f"\n{spoken}"
            else:
                said.append(spoken)
        elif role == "user":
            said.append(f"{INPUT} {content}")
        elif last:
            said.append(content)
        else:
            head.append(content)
            continue
        last = role
    if last == "user":
        said[-1] += f"\n{OUTPUT}"
    elif last != "assistant":
        said.append(OUTPUT)
    return "\n\n".join((*head, *shown, *said))
