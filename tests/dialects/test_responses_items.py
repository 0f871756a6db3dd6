"""What a response was made from, as items."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.responses_items import items_of
from airboss.dialects.responses_request import input_messages

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "D"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "file", "file": {"file_data": "data:a/b;base64,AA", "filename": "f"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "assistant", "content": "Yes.", "refusal": "No."},
]


def test_items() -> None:
    """Each message has its items, told apart by ids."""
    items = items_of(MESSAGES, "r")
    assert [item["type"] for item in items] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert [item["id"] for item in items] == ["msg_r_0", "msg_r_1", "fc_r_2", "fco_r_3", "msg_r_4"]
    assert items[0] | {"id": ""} == {
        "id": "",
        "status": "completed",
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "D"}],
    }
    assert [part["type"] for part in items[1]["content"]] == ["input_text", "input_image", "input_file"]
    assert (items[2]["call_id"], items[2]["arguments"]) == ("call_1", '{"a":1}')
    assert [part["type"] for part in items[4]["content"]] == ["output_text", "refusal"]


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
roles = st.sampled_from(["user", "assistant", "system", "developer"])
said = st.builds(lambda role, text: {"role": role, "content": text}, roles, words)
calls = st.builds(
    lambda name: {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": name}]}, words
)
results = st.builds(lambda name, text: {"role": "tool", "tool_call_id": name, "content": text}, words, words)


@given(st.lists(said | calls | results, max_size=6))
def test_there_and_back(messages: list[dict[str, Any]]) -> None:
    """Items read as input again are the same messages, but that calls join the words before them."""
    items = msgspec.json.decode(msgspec.json.encode(items_of(messages, "r")), type=list[msgspec.Raw])
    assert _flat(input_messages(items, [], [])) == _flat(messages)


def _flat(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    flat: list[tuple[Any, ...]] = []
    for message in messages:
        if message.get("content"):
            flat.append((message["role"], message.get("tool_call_id"), message["content"]))
        flat += [
            ("call", call["id"], call["function"]["arguments"]) for call in message.get("tool_calls", ())
        ]
    return flat


_NAMES = st.sampled_from(
    ["role", "content", "tool_calls", "function", "type", "text", "image_url", "file", "refusal", "id"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | _NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(anything | st.dictionaries(_NAMES, anything | roles, max_size=5), max_size=4))
def test_whatever_was_kept(messages: list[Any]) -> None:
    """Nothing that is JSON is beyond it."""
    msgspec.json.encode(items_of(messages, "r"))
