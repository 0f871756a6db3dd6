"""Training examples in OpenAI's chat form, as the token ids that the engine would see and should say.

A line of such a file is `{"messages": […]}`, and perhaps `tools`. The engine itself renders and cuts them up,
by the model's own template, so that what is trained is what is asked later. Learnt are the assistant's turns
alone, each with the token that ends it, but those of `weight` 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from airboss.domain.errors import SetupError
from airboss.training.order import Lesson


class Reader(Protocol):
    """Reads as the engine does."""

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[Any]) -> str:
        """Messages and tools as one text, with the opening of the assistant's next turn."""

    def cut(self, text: str, *, begins: bool) -> list[int]:
        """The token ids of a text; `begins` is whether it is all that the model sees."""


EXAMPLES_MAX: Final = 100_000
NEXT: Final = {"role": "user", "content": "."}
"""Said after an assistant's turn, so that the template writes how that ends."""


class Message(msgspec.Struct, frozen=True):
    """What is looked at of a message; the rest goes to the template as it is."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    weight: Literal[0, 1] | None = None


class _Example(msgspec.Struct, frozen=True):
    messages: list[Message]


def read_examples(path: Path) -> list[dict[str, Any]]:
    """The examples of a file. Raises SetupError that names the line."""
    found: list[dict[str, Any]] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                if len(found) == EXAMPLES_MAX:
                    raise SetupError(f"{path} has more than {EXAMPLES_MAX:,} examples; take fewer.")
                found.append(_example(line, f"{path}:{number}"))
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    if not found:
        raise SetupError(f'{path} has no example; write one a line, as {{"messages": […]}}.')
    return found


def _example(line: bytes, where: str) -> dict[str, Any]:
    try:
        messages = msgspec.json.decode(line, type=_Example).messages
        raw: dict[str, Any] = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        form = '{"messages": [{"role": …, "content": …}, …]}'
        raise SetupError(f"{where}: expected {form}: {error}") from None
    if not any(each.role == "assistant" and each.weight != 0 for each in messages):
        raise SetupError(f"{where}: no message is the assistant's, so there is nothing to learn.")
    if messages[0].role == "assistant":
        raise SetupError(f"{where}: begins with the assistant; a user or the system speaks first.")
    return raw


def lessons(example: dict[str, Any], reader: Reader, ends: Collection[int]) -> list[Lesson]:
    """What is learnt of an example: one lesson where each turn only adds tokens to what stands, else one for
    each turn that stands otherwise once others come after it. At the tokens `ends` the engine stops.

    Raises SetupError where the template does not say how an assistant's turn goes on from its opening.
    """
    messages = [{k: v for k, v in each.items() if k != "weight"} for each in example["messages"]]
    weights = [each.get("weight") for each in example["messages"]]
    tools = example.get("tools") or []
    found: list[Lesson] = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant" or weights[at] == 0:
            continue
        opening = reader.render(messages[:at], tools)
        before, said = _turn(opening, reader.render([*messages[: at + 1], NEXT], tools), reader, ends)
        last = found[-1] if found else None
        if last is not None and before[: len(last.ids)] == last.ids:
            between = before[len(last.ids) :]
            last.ids += between + said
            last.learn += [False] * len(between) + [True] * len(said)
        else:
            found.append(Lesson(ids=before + said, learn=[False] * len(before) + [True] * len(said)))
    return found


def _turn(opening: str, whole: str, reader: Reader, ends: Collection[int]) -> tuple[list[int], list[int]]:
    """The ids before an assistant's turn, and those of the turn with its end."""
    before, joined = reader.cut(opening, begins=True), reader.cut(whole, begins=True)
    said = joined[len(before) :]
    if joined[: len(before)] != before:
        # An answer that begins with a space runs into its opening when both are cut up as one text. The
        # engine has cut up the opening alone by the time it says the rest.
        said = reader.cut(whole[len(opening) :], begins=False)
    end = next((place for place, each in enumerate(said) if each in ends), None)
    if not whole.startswith(opening) or end is None:
        raise SetupError(
            "the chat template of this model does not write an assistant's turn as its opening, the answer"
            " and a token that ends it, so that an adapter would learn what is never asked; take another base"
            " model."
        )
    return before, said[: end + 1]
