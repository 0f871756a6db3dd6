"""A candidate: one way to prompt, which becomes a release if it turns out to be better. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

import msgspec

from airboss.config.checks_release import unclosed
from airboss.domain.release import Example, PromptForm, Release
from airboss.evaluations.datasets import Item, flat_text
from airboss.evaluations.scorers.tool_calls import expected_calls
from airboss.releases.render import variables_in
from airboss.releases.variant import Variant, varied

FORMS: Final[tuple[PromptForm, ...]] = get_args(PromptForm)
"""Every form that a release can have."""

EXAMPLE_CHARS_MAX: Final = 4_000
"""Of an example's two sides together; longer items are asked, but shown to no model as an example."""

INSTRUCTION_CHARS_MAX: Final = 20_000


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What a search may change of a release: `instruction` is its prompt, None for none. `origin` says how it
    came about, and is no part of it."""

    instruction: str | None
    examples: tuple[Example, ...] = ()
    form: PromptForm = "turns"
    origin: str = ""


def candidate_of(release: Release, origin: str) -> Candidate:
    """What a release says now."""
    return Candidate(instruction=release.prompt, examples=release.examples, form=release.form, origin=origin)


def released(candidate: Candidate, base: Release, name: str) -> Release:
    """The release that a candidate makes of `base`: all that a search does not change stays. Two candidates
    that answer alike have one digest."""
    variant = Variant(prompt=candidate.instruction, examples=candidate.examples, form=candidate.form)
    return msgspec.structs.replace(varied(base, variant), name=name)


def fits(instruction: str | None, base: Release) -> bool:
    """Whether an instruction may take the place of the base's: it is no longer than a prompt should be, and
    asks for just the variables that callers send today, each written whole."""
    wanted = variables_in(base.prompt or "")
    text = instruction or ""
    return len(text) <= INSTRUCTION_CHARS_MAX and variables_in(text) == wanted and unclosed(text) is None


def example_of(item: Item) -> Example | None:
    """An item as an example, or None where it cannot be one: it needs one message of a user, in text, and an
    expected answer."""
    if len(item.input.messages) != 1 or item.input.messages[0].get("role") != "user":
        return None
    said = flat_text(item.input.messages[0].get("content"))
    answer = expected_text(item)
    if not said.strip() or not answer or len(said) + len(answer) > EXAMPLE_CHARS_MAX:
        return None
    return Example(said, answer)


def expected_text(item: Item) -> str:
    """The expected answer as a model would say it; empty where none is known, or tools are to be called. Of
    several the first."""
    expected = item.expected[0] if isinstance(item.expected, list) and item.expected else item.expected
    if expected is None or expected == [] or expected_calls(expected) is not None:
        return ""
    return expected if isinstance(expected, str) else msgspec.json.encode(expected).decode()


def pool_of(items: Iterable[Item]) -> tuple[tuple[str, Example], ...]:
    """What examples are drawn from, each with its item's id; a question that is there twice counts once."""
    found: dict[str, tuple[str, Example]] = {}
    for item in items:
        example = example_of(item)
        if example is not None:
            found.setdefault(example.input, (item.id, example))
    return tuple(found.values())


def balanced(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items reordered so that each beginning of the list has the expected answers in even shares; within
    an answer their order stays."""
    by_answer: dict[str, list[Item]] = {}
    for item in items:
        by_answer.setdefault(expected_text(item), []).append(item)
    lists = list(by_answer.values())
    most = max((len(each) for each in lists), default=0)
    return tuple(each[at] for at in range(most) for each in lists if at < len(each))
