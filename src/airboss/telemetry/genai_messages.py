"""What instrumentations write of a model call's content, said as OpenAI's chat. Pure.

Three ways are read: messages of parts (OpenTelemetry since 1.37), events of one message each (before), and
numbered attributes (OpenInference and OpenLLMetry).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

Message = dict[str, Any]
Attributes = Mapping[str, Any]

DETAILS: Final = "gen_ai.client.inference.operation.details"
"""The event that has all of a call's messages."""
MESSAGES_MAX: Final = 1_024
PARTS_MAX: Final = 64


def from_json(value: Any) -> Any:
    """A value that some write as JSON text and some as it is."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


def of_parts(value: Any) -> list[Message]:
    """Messages of parts: `[{"role", "parts": [{"type": "text", "content"}, …], "finish_reason"}]`."""
    found: list[Message] = []
    for each in _listed(from_json(value)):
        if isinstance(each, Mapping):
            found += _of_one(each)
    return found[:MESSAGES_MAX]


def _of_one(given: Mapping[str, Any]) -> list[Message]:
    """What one message of parts is: results of tools are messages of their own."""
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[Any] = []
    results: list[Message] = []
    parts = given.get("parts")
    for each in _listed(parts) if parts is not None else [given.get("content")]:
        part = each if isinstance(each, Mapping) else {"type": "text", "content": each}
        match part.get("type"):
            case "tool_call":
                calls.append(_call(part.get("id"), part.get("name"), part.get("arguments")))
            case "tool_call_response":
                said = part.get("response", part.get("result"))
                results.append({"role": "tool", "tool_call_id": part.get("id"), "content": text_of(said)})
            case "reasoning" | "thinking":
                reasoning.append(text_of(part.get("content")))
            case kind:
                text = part.get("content", part.get("text"))
                texts.append(text_of(text) if text is not None else f"[{text_of(kind) or 'part'}]")
    message: Message = {"role": text_of(given.get("role")) or "user", "content": "\n".join(texts) or None}
    message |= {"reasoning_content": "\n".join(reasoning)} if reasoning else {}
    message |= {"tool_calls": calls} if calls else {}
    if given.get("finish_reason") is not None:
        message["finish_reason"] = text_of(given["finish_reason"])
    return results if results and not (texts or calls) else [message, *results]


def numbered(attributes: Attributes, prefix: str) -> list[Message]:
    """Messages in attributes such as `gen_ai.prompt.0.content` or `llm.input_messages.0.message.content`."""
    rows: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        number, _, rest = name[len(prefix) :].partition(".")
        if number.isascii() and number.isdigit() and len(number) < 6:
            rows.setdefault(int(number), {})[rest.removeprefix("message.")] = value
    return [_of_numbered(rows[number]) for number in sorted(rows)[:MESSAGES_MAX]]


def _of_numbered(row: Mapping[str, Any]) -> Message:
    texts = _texts_of_numbered(row)
    message: Message = {"role": text_of(row.get("role")) or "user", "content": "\n".join(texts) or None}
    calls = []
    for number in range(PARTS_MAX):
        at = f"tool_calls.{number}."
        inner = f"{at}tool_call."
        name = row.get(f"{inner}function.name", row.get(f"{at}name"))
        if name is None:
            break
        arguments = row.get(f"{inner}function.arguments", row.get(f"{at}arguments"))
        calls.append(_call(row.get(f"{inner}id", row.get(f"{at}id")), name, arguments))
    if calls:
        message["tool_calls"] = calls
    for name in ("tool_call_id", "finish_reason"):
        if row.get(name) is not None:
            message[name] = text_of(row[name])
    return message


def _texts_of_numbered(row: Mapping[str, Any]) -> list[str]:
    texts: list[str] = []
    content = from_json(row.get("content"))
    if isinstance(content, list):
        texts += [
            text_of(part.get("text", part) if isinstance(part, Mapping) else part)
            for part in content[:PARTS_MAX]
        ]
    elif row.get("content") is not None:
        texts.append(text_of(row["content"]))
    for number in range(PARTS_MAX):
        text = row.get(f"contents.{number}.message_content.text")
        if text is None and f"contents.{number}.message_content.type" not in row:
            break
        texts.append(text_of(text) if text is not None else "[media]")
    return texts


def of_events(events: Sequence[tuple[str, Attributes]]) -> tuple[list[Message], list[Message]]:
    """What was asked and answered in span events of the time before 1.37, by their names."""
    asked: list[Message] = []
    answered: list[Message] = []
    for name, attributes in events[:MESSAGES_MAX]:
        if name == "gen_ai.choice":
            message = from_json(attributes.get("message", {"content": attributes.get("content")}))
            said = message if isinstance(message, Mapping) else {"content": message}
            called = {"tool_calls": attributes["tool_calls"]} if "tool_calls" in attributes else {}
            reason = attributes.get("finish_reason")
            answered.append({"role": "assistant", **_plain({**called, **said}), "finish_reason": reason})
        elif name.startswith("gen_ai.") and name.endswith(".message"):
            role = name.split(".")[1]
            result = {"tool_call_id": attributes["id"]} if role == "tool" and "id" in attributes else {}
            asked.append({"role": role, **result, **_plain(attributes)})
        elif name == "gen_ai.content.prompt":
            asked += _of_any(attributes.get("gen_ai.prompt"))
        elif name == "gen_ai.content.completion":
            answered += _of_any(attributes.get("gen_ai.completion"))
    return asked[:MESSAGES_MAX], answered[:MESSAGES_MAX]


def of_log(name: str, given: Attributes) -> tuple[list[Message], list[Message], list[Any]]:
    """What was asked and answered and which tools were offered, by a log record's attributes and body;
    messages of which only the role was written are left out. An answer keeps its `index`."""
    first = 0
    offered: list[Any] = []
    if name == DETAILS:
        instructions = system(given.get("gen_ai.system_instructions"))
        asked = [*instructions, *of_parts(given.get("gen_ai.input.messages"))]
        answered = of_parts(given.get("gen_ai.output.messages"))
        offered = tools(given.get("gen_ai.tool.definitions"))
    else:
        asked, answered = of_events([(name, given)])
        index = given.get("index")
        first = index if isinstance(index, int) and 0 <= index < MESSAGES_MAX else 0
    choices = [{**each, "index": first + number} for number, each in enumerate(answered)]
    return list(filter(_says, asked)), list(filter(_says, choices)), offered


def _says(message: Message) -> bool:
    calls = [each.get("function") for each in _listed(message.get("tool_calls")) if isinstance(each, Mapping)]
    called = any(isinstance(each, Mapping) and "arguments" in each for each in calls)
    return called or message.get("content") is not None or message.get("reasoning_content") is not None


def system(value: Any) -> list[Message]:
    """Instructions in parts, as a message."""
    parts = from_json(value)
    return of_parts([{"role": "system", "parts": parts}]) if isinstance(parts, list) and parts else []


def _of_any(value: Any) -> list[Message]:
    read = from_json(value)
    if isinstance(read, list):
        return [_plain(each) if isinstance(each, Mapping) else {"content": text_of(each)} for each in read]
    return [] if read is None else [{"role": "user", "content": text_of(read)}]


def _plain(given: Mapping[str, Any]) -> Message:
    """What of an event's attributes is a message."""
    names = ("role", "content", "tool_calls", "name", "tool_call_id")
    return {
        name: from_json(given[name]) if name == "tool_calls" else given[name]
        for name in names
        if name in given
    }


def tools(value: Any) -> list[Any]:
    """Definitions of tools as chat has them."""
    found = []
    for each in _listed(from_json(value)):
        tool = from_json(each)
        if isinstance(tool, Mapping) and "function" not in tool and "name" in tool:
            named = {"parameters" if k == "inputSchema" else k: v for k, v in tool.items() if k != "type"}
            tool = {"type": "function", "function": named}
        found.append(tool)
    return found


def _call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return {"id": call_id, "type": "function", "function": {"name": text_of(name), "arguments": written}}


def _listed(value: Any) -> list[Any]:
    return value[:MESSAGES_MAX] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """A string as it is, nothing as none, and anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
