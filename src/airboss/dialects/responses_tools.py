"""The tools that a request of OpenAI's Responses offers, said as functions of chat, and back. Pure.

A tool in a namespace, as Codex has those of its MCP servers, is a function whose name begins with that. Those
that are only to be found by a search are offered at once. A search that the client makes is a function, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from airboss.dialects.chat_said import list_of, text_of
from airboss.dialects.plain import fitting_name
from airboss.dialects.responses_custom import CUSTOM, function_of, grammar_in
from airboss.dialects.responses_shape import read, typed
from airboss.dialects.speech import Json, Unsaid
from airboss.domain.errors import InvalidRequest

NAMED = "responses_named"
"""The member of a call, and of a message with a result, that says what its item has besides, or instead."""
SEARCH = "tool_search"
"""The function that a client's own search for tools is."""
CUSTOM_CALL = "custom_tool_call"
SEARCH_CALL, SEARCH_OUTPUT = "tool_search_call", "tool_search_output"
CLIENTS = "client"
"""Who makes such a search."""
_DEFAULT = "functions"
"""The namespace of tools that are in none."""
_OWN = frozenset({"function", "custom"})
"""Types of tools that are a client's own."""
_RENAMES = (b'"custom"', b'"namespace"', b'"tool_search"')
"""What stands in a tool that its client knows by something else than the name of a function."""


class Offered(msgspec.Struct, frozen=True):
    """A tool as it was written, and where; `namespace` is that in which it stands."""

    raw: msgspec.Raw
    where: str
    namespace: str = ""


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """The item that calls a tool: its type, and by which name in which namespace it does."""

    type: str = "function_call"
    name: str = ""
    namespace: str = ""

    @property
    def marks(self) -> Json:
        """What a call in chat has of it; nothing where its function's name says all."""
        if self.type == SEARCH_CALL:
            return {NAMED: {"type": SEARCH_CALL}}
        custom: Json = {CUSTOM: True} if self.type == CUSTOM_CALL else {}
        named: Json = {NAMED: {"name": self.name, "namespace": self.namespace}} if self.namespace else {}
        return custom | named


class Tool(msgspec.Struct, kw_only=True):
    """A tool."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None
    format: Json | None = None
    execution: str | None = None


class _Namespace(msgspec.Struct):
    type: Any = ""
    name: Any = ""
    tools: list[msgspec.Raw] = []


class _Any(msgspec.Struct):
    type: Any = ""
    name: Any = ""
    execution: Any = ""


class _Marked(msgspec.Struct):
    responses_named: Any = None


_tools = msgspec.json.Decoder(Tool)
_namespaces = msgspec.json.Decoder(_Namespace)
_any = msgspec.json.Decoder(_Any)
_marked = msgspec.json.Decoder(_Marked)


def flat_name(namespace: str | None, name: str) -> str:
    """The name of a function that is a tool in a namespace."""
    if not namespace or namespace == _DEFAULT:
        return name
    return fitting_name(f"{namespace.rstrip('_')}__{name}")


def called_as(type_: str, namespace: str | None, name: str) -> Called:
    """The item that calls a tool in a namespace."""
    return Called(type=type_, name=name, namespace="" if namespace == _DEFAULT else namespace or "")


def each_of(tools: Iterable[msgspec.Raw], where: str) -> Iterator[Offered]:
    """Tools, and those in their namespaces."""
    for number, raw in enumerate(tools):
        at = f"{where}[{number}]"
        inside = _inside(raw) if b'"namespace"' in bytes(raw) else None
        if inside is None:
            yield Offered(raw, at)
        else:
            for place, each in enumerate(inside.tools):
                yield Offered(each, f"{at}.tools[{place}]", inside.name)


def _inside(raw: msgspec.Raw) -> _Namespace | None:
    """A namespace; None for what is none, or of another shape."""
    try:
        found = _namespaces.decode(raw)
    except msgspec.ValidationError:
        return None
    return found if found.type == "namespace" and isinstance(found.name, str) and found.name else None


def names_of(tools: Iterable[Offered]) -> list[str]:
    """What the functions are called that these tools are."""
    return [flat_name(tool.namespace, text_of(_any.decode(tool.raw).name)) for tool in tools]


def found_in(history: Sequence[Any]) -> Iterator[Offered]:
    """The tools that searches have found in a conversation."""
    for raw in history:
        if isinstance(raw, msgspec.Raw) and b'"tool_search_output"' in bytes(raw):
            mark = _marked.decode(raw).responses_named
            tools = list_of(mark.get("tools")) if isinstance(mark, dict) else []
            said = [msgspec.Raw(msgspec.json.encode(each)) for each in tools]
            yield from each_of(said, "previous_response_id")


def called_by(tools: Iterable[Offered]) -> Mapping[str, Called]:
    """The items that calls of these tools are, by the names of their functions; a plain function's is left
    out."""
    found: dict[str, Called] = {}
    for tool in tools:
        if not tool.namespace and not any(each in bytes(tool.raw) for each in _RENAMES):
            continue
        said = _any.decode(tool.raw)
        name = text_of(said.name)
        if said.type == SEARCH and said.execution == CLIENTS:
            found.setdefault(SEARCH, Called(type=SEARCH_CALL))
        elif said.type in _OWN:
            type_ = CUSTOM_CALL if said.type == "custom" else "function_call"
            found.setdefault(flat_name(tool.namespace, name), called_as(type_, tool.namespace, name))
    return found


def called_in(output: Iterable[Any]) -> Mapping[str, Called]:
    """The same of the calls in an output."""
    found: dict[str, Called] = {}
    for item in output:
        match item:
            case {"type": "function_call" | "custom_tool_call" as type_, "name": str(name)}:
                namespace = text_of(item.get("namespace"))
                found[flat_name(namespace, name)] = called_as(type_, namespace, name)
            case {"type": "tool_search_call"}:
                found[SEARCH] = Called(type=SEARCH_CALL)
    return found


def function(tool: Offered, unsaid: list[Unsaid]) -> Json | None:
    """A tool as a function; None for a search that the provider would make: all tools are offered at once.
    Raises Unsaid for one that OpenAI's models alone know, InvalidRequest."""
    where = tool.where
    type_ = read(typed, tool.raw, where).type
    said = read(_tools, tool.raw, where) if type_ in _OWN or type_ == SEARCH else Tool(type=type_)
    if type_ == SEARCH and said.execution == CLIENTS:
        made = {"name": SEARCH, "parameters": said.parameters or {"type": "object", "properties": {}}}
        return made | ({"description": said.description} if said.description is not None else {})
    if type_ == SEARCH:
        return None
    if type_ not in _OWN:
        raise Unsaid(
            f"{where} is of type {type_[:60]!r}, which is for OpenAI's models alone; offer functions of "
            "your own: {'type': 'function', 'name': …, 'parameters': …}",
            code="tools_unsupported",
            param=f"{where}.type",
        )
    if said.name is None:
        raise InvalidRequest(f"{where} has no name; a {type_} tool needs one", param=f"{where}.name")
    name = flat_name(tool.namespace, said.name)
    if type_ == "custom":
        grammar = grammar_in(said.format)
        if grammar is not None:
            wanted = (
                f"{where} wants its input in a grammar, which OpenAI alone can heed; leave out its format"
            )
            unsaid.append(Unsaid(wanted, code="tools_unsupported", param=f"{where}.format"))
        return function_of(name, said.description, grammar)
    offered: Json = {"name": name, "parameters": said.parameters or {"type": "object", "properties": {}}}
    if said.description is not None:
        offered["description"] = said.description
    if said.strict is not None:
        offered["strict"] = said.strict
    return offered


def choice_of(choice: Json, tools: list[Json]) -> tuple[list[Json], str | Json]:
    """The tools to choose from, and how. Raises Unsaid."""
    match choice:
        case {"type": "function" | "custom", "name": str(name)}:
            flat = flat_name(text_of(choice.get("namespace")), name)
            return tools, {"type": "function", "function": {"name": flat}}
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(listed)}:
            names = {_name_of(each) for each in listed}
            if kept := [tool for tool in tools if tool["function"]["name"] in names]:
                return kept, mode
    raise Unsaid(
        f"'tool_choice' is of type {str(choice.get('type'))[:40]!r}; it is auto, none, required, "
        "a function or a custom tool by name, or allowed_tools with some of these",
        code="tools_unsupported",
        param="tool_choice",
    )


def _name_of(tool: Any) -> str | None:
    """The name of a function or a custom tool; None of anything else."""
    match tool:
        case {"type": "function" | "custom", "name": str(name)}:
            return flat_name(text_of(tool.get("namespace")), name)
    return None
