"""A dataset from JSON Lines: one object a line, bounded, with the line's number in every complaint.

    {"input": "Is this spam? …", "expected": "yes"}
    {"id": "q7", "input": {"messages": […], "variables": {"tone": "dry"}}, "tags": ["hard"], "group": "g1"}
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}

`input` is a text (one user message), a list of messages, or an object with `messages`, `variables` and
`params`. `messages` in place of it, with `tools` or without, is a line of a file for OpenAI's fine-tuning:
the text of the answer that it ends with is what is expected, or else the tools that it calls. Without an
`id` an item is known by the first 16 digits of its input's digest. `user` is the person that it came from:
erasing them finds it, and their items stay in one part unless `group` says otherwise.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import ITEMS_MAX, Input, Item, input_digest

LINE_BYTES_MAX: Final = 1024 * 1024
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    input: str | list[dict[str, Any]] | dict[str, Any] | None = None
    messages: tuple[dict[str, Any], ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    parallel_tool_calls: bool | None = None
    id: str | int | None = None
    expected: Any = None
    tags: tuple[str, ...] = ()
    group: str | int | None = None
    user: str | None = None
    part: str | None = None


class _Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    messages: tuple[dict[str, Any], ...] = ()
    variables: dict[str, str] = {}
    params: dict[str, Any] = {}


_FIELDS: Final = _Given.__struct_fields__ + _Input.__struct_fields__


def read_items(stream: BinaryIO, *, source: str) -> list[Item]:
    """The items in `stream`; `source` is how messages call it. Blank lines are passed over.

    Raises WrongCall, naming the line, for one that is too long, no JSON, or no item; for an id that was
    there before; and for more than ITEMS_MAX items.
    """
    seen: dict[str, int] = {}
    items = []
    for number, line in numbered(stream, source):
        try:
            item = _item(line)
        except (ValueError, WrongCall, RecursionError) as error:  # msgspec's errors are ValueErrors
            raise WrongCall(f"{source}, line {number}: {error}{_near(str(error))}") from error
        if item.id in seen:
            raise WrongCall(
                f"{source}, line {number}: the item {item.id!r} is there already, in line {seen[item.id]}; "
                "take one out, or give them ids of their own"
            )
        seen[item.id] = number
        items.append(item)
        if len(items) > ITEMS_MAX:
            raise WrongCall(f"{source}, line {number}: more than {ITEMS_MAX} items; divide the dataset")
    return items


def numbered(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, each with its number. Raises WrongCall for one that is too long."""
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise WrongCall(f"{source}, line {number}: longer than {LINE_BYTES_MAX} bytes; shorten it")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # some editors begin a file with this mark
        if line.strip():
            yield number, line


def _item(line: bytes) -> Item:
    given = msgspec.json.decode(line, type=_Given)
    if (given.input is None) == (not given.messages):
        raise WrongCall("an item has either `input` or `messages`; give one of them")
    asked, expected = (
        _from_messages(given) if given.input is None else (read_input(given.input), given.expected)
    )
    part = given.part
    if part is not None and part not in {"train", "validation", "holdout"}:
        raise WrongCall(f"part is {part!r}; train, validation, holdout, or leave it to the hash")
    return Item(
        id=str(given.id) if given.id is not None else input_digest(asked)[:16],
        input=asked,
        expected=expected,
        tags=tuple(sorted(set(given.tags))),
        group=str(given.group) if given.group is not None else given.user,
        user=given.user,
        part=part,  # type: ignore[arg-type]  # one of the three, as seen above
    )


def _from_messages(given: _Given) -> tuple[Input, Any]:
    """Input and expected text of a line that trains a model; `weight` says only how much it is trained."""
    said = [{name: each[name] for name in each if name != "weight"} for each in given.messages]
    answer = said.pop() if said[-1].get("role") == "assistant" else {}
    params: dict[str, Any] = {"tools": list(given.tools)} if given.tools else {}
    if given.parallel_tool_calls is not None:
        params["parallel_tool_calls"] = given.parallel_tool_calls
    expected = given.expected if given.expected is not None else answer.get("content") or None
    if expected is None and answer.get("tool_calls"):
        expected = {"tool_calls": answer["tool_calls"]}
    return read_input({"messages": said, "params": params}), expected


def read_input(given: str | list[dict[str, Any]] | dict[str, Any]) -> Input:
    """An item's input in any of its forms. Raises ValueError or WrongCall saying what is wrong with it."""
    if isinstance(given, str):
        asked = Input(messages=({"role": "user", "content": given},))
    elif isinstance(given, list):
        asked = Input(messages=tuple(given))
    else:
        whole = msgspec.convert(given, _Input)
        asked = Input(messages=whole.messages, variables=whole.variables, params=whole.params)
    if not asked.messages and not asked.variables:
        raise WrongCall("the input has neither messages nor variables; give one of them")
    for index, message in enumerate(asked.messages):
        if message.get("role") not in ROLES:
            raise WrongCall(
                f"message {index} has the role {message.get('role')!r}; the roles are {', '.join(ROLES)}"
            )
    return asked


def _near(message: str) -> str:
    """The nearest field, or else all that there are, where a message complains of an unknown one."""
    _, found, rest = message.partition("unknown field `")
    if not found:
        return ""
    name = rest.partition("`")[0]
    if near := difflib.get_close_matches(name, set(_FIELDS) - {name}, n=1):
        return f"; did you mean `{near[0]}`?"
    line, inside = ", ".join(_Given.__struct_fields__), ", ".join(_Input.__struct_fields__)
    return f"; a line has {line}, and an `input` may have {inside}"
