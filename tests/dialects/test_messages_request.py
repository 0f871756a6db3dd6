"""Anthropic's Messages as chat requests: golden cases, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.messages_request import messages_as_chat
from airboss.domain.errors import InvalidRequest
from airboss.providers.anthropic_request import messages_request
from airboss.providers.dialect import Unsaid

MARK = {"type": "ephemeral"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"city": "Nîmes", "days": 1.50}}
THOUGHT = {"type": "thinking", "thinking": "Well.", "signature": "c2ln"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def asked(**members: Any) -> dict[str, Any]:
    """A request with these members."""
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]} | members


def chat(**members: Any) -> Any:
    """The chat request that it becomes."""
    return json.loads(messages_as_chat(json.dumps(asked(**members)).encode()).body)


def messages(*turns: dict[str, Any], **members: Any) -> Any:
    """The chat messages that turns become."""
    return chat(messages=list(turns), **members)["messages"]


def user(*blocks: Any) -> dict[str, Any]:
    """A user's turn."""
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    """An assistant's turn."""
    return {"role": "assistant", "content": list(blocks)}


def text(said: str, **members: Any) -> dict[str, Any]:
    """A text block, or a text part: they look the same."""
    return {"type": "text", "text": said, **members}


TURNS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    ("text", [{"role": "user", "content": "hi"}], [{"role": "user", "content": "hi"}]),
    ("one block", [user(text("hi"))], [{"role": "user", "content": "hi"}]),
    ("two blocks", [user(text("a"), text("b"))], [{"role": "user", "content": [text("a"), text("b")]}]),
    (
        "image",
        [user(IMAGE, text("what?"))],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    text("what?"),
                ],
            }
        ],
    ),
    (
        "image by URL",
        [user({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
    ),
    (
        "document",
        [
            user(
                {
                    "type": "document",
                    "title": "a.pdf",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
                },
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "T"}},
            )
        ],
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
                    },
                    text("T"),
                ],
            }
        ],
    ),
    (
        "call and result",
        [
            assistant(text("Let me see."), CALL),
            user(text("so?"), {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}),
        ],
        [
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "look_up", "arguments": json.dumps(CALL["input"])},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
            {"role": "user", "content": "so?"},
        ],
    ),
    (
        "result in blocks, failed",
        [
            user(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": True,
                    "content": [text("no"), text("luck")],
                },
                {"type": "tool_result", "tool_use_id": "u"},
            )
        ],
        [
            {"role": "tool", "tool_call_id": "t", "content": "Error: no\nluck"},
            {"role": "tool", "tool_call_id": "u", "content": ""},
        ],
    ),
    (
        "result with an image",
        [user({"type": "tool_result", "tool_use_id": "t", "content": [text("see"), IMAGE]})],
        [
            {
                "role": "tool",
                "tool_call_id": "t",
                "content": [
                    text("see"),
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            }
        ],
    ),
    (
        "thoughts",
        [assistant(THOUGHT, text("Yes."))],
        [{"role": "assistant", "content": "Yes.", "thinking_blocks": [THOUGHT]}],
    ),
    (
        "thoughts that came unsigned",
        [
            assistant(
                {**THOUGHT, "signature": "reasoning_content"}, {**THOUGHT, "signature": ""}, text("Yes.")
            )
        ],
        [{"role": "assistant", "content": "Yes.", "reasoning_content": "Well."}],
    ),
    (
        "marks",
        [user(text("a", cache_control=MARK), text("b"))],
        [{"role": "user", "content": [text("a", cache_control=MARK), text("b")]}],
    ),
    (
        "system in between",
        [{"role": "system", "content": "Be brief."}],
        [{"role": "system", "content": "Be brief."}],
    ),
]


@pytest.mark.parametrize(("given_turns", "wanted"), [t[1:] for t in TURNS], ids=[t[0] for t in TURNS])
def test_turns(given_turns: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Each kind of block has its place in chat's messages."""
    assert messages(*given_turns) == wanted


def test_what_is_said_of_a_document_goes_before_it() -> None:
    """Its `context` is for the model."""
    source = {"type": "text", "media_type": "text/plain", "data": "T"}
    document = {"type": "document", "source": source, "context": "of 1999", "citations": {"enabled": False}}
    (turn,) = chat(messages=[user(document)])["messages"]
    assert turn["content"] == [text("of 1999"), text("T")]


def test_a_document_in_blocks() -> None:
    """Its texts and images are the message's."""
    source = {"type": "content", "content": [text("one"), IMAGE]}
    (turn,) = messages(user({"type": "document", "source": source}))
    assert turn["content"] == [
        text("one"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


def test_system() -> None:
    """The system's words come first, as a text where they are one."""
    assert messages(user(text("x")), system="S")[0] == {"role": "system", "content": "S"}
    assert messages(user(text("x")), system=[text("S")])[0] == {"role": "system", "content": "S"}
    marked = [text("S"), text("T", cache_control=MARK)]
    assert messages(user(text("x")), system=marked)[0] == {"role": "system", "content": marked}


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "top_p": 0.9, "top_k": 4}),
    ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
    ({"stop_sequences": []}, {}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"stream": False}, {}),
    (
        {"metadata": {"user_id": "u", "session_id": "s", "n": 1}},
        {"user": "u", "metadata": {"session_id": "s"}},
    ),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, {"reasoning_effort": "medium"}),
    ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, {"reasoning_effort": "high"}),
    ({"thinking": {"type": "disabled"}}, {}),
    ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
    ({"thinking": {"type": "adaptive"}}, {"reasoning_effort": "high"}),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            }
        },
    ),
    ({"service_tier": "auto", "cache_control": MARK, "container": None}, {}),
    ({"seed": 7, "prompt_variables": {"a": "b"}}, {"seed": 7, "prompt_variables": {"a": "b"}}),
]


@pytest.mark.parametrize(("members", "wanted"), PARAMETERS, ids=[json.dumps(p[0])[:50] for p in PARAMETERS])
def test_parameters(members: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Every parameter has its name in chat; members that nobody knows pass through."""
    plain = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert chat(**members) == plain | wanted


def test_tools() -> None:
    """Tools and how they are chosen."""
    tool = {"name": "f", "description": "d", "input_schema": SCHEMA, "cache_control": MARK}
    said = chat(tools=[tool], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert said["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA},
            "cache_control": MARK,
        }
    ]
    assert (said["tool_choice"], said["parallel_tool_calls"]) == ("required", False)
    named = chat(tools=[tool], tool_choice={"type": "tool", "name": "f"})
    assert named["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    for kind in ("auto", "none"):
        assert chat(tools=[tool], tool_choice={"type": kind})["tool_choice"] == kind
    assert "tool_choice" not in chat(tool_choice={"type": "auto"})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [user({"type": "tool_result", "content": "x"})]}, "messages[0].content[0].tool_use_id"),
    ({"messages": [assistant({"type": "tool_use", "name": "f"})]}, "messages[0].content[0]"),
    ({"messages": [assistant(CALL | {"input": [1]})]}, "messages[0].content[0].input"),
    ({"tools": [{"description": "f"}]}, "tools[0].name"),
    ({"tools": [{"name": "f"}], "tool_choice": {"type": "odd"}}, "tool_choice"),
    ({"metadata": {"user_id": 1}}, "metadata.user_id"),
    ({"thread": {"type": "create"}}, "thread"),
    ({"thread": {"type": "continue", "previous_message_id": "m"}}, "thread"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
]


@pytest.mark.parametrize(("members", "param"), REFUSED, ids=[r[1] for r in REFUSED])
def test_refused(members: dict[str, Any], param: str) -> None:
    """What no server takes is refused, and the error names the member."""
    with pytest.raises(InvalidRequest) as refused:
        chat(**members)
    assert refused.value.param == param
    assert "; " in refused.value.message


FOUND: dict[str, Any] = {
    "type": "search_result",
    "source": "https://x/y",
    "title": "Y",
    "content": [text("a"), text("b")],
    "citations": {"enabled": False},
    "cache_control": MARK,
}


def test_what_a_search_found_is_told_as_text() -> None:
    """With where it is from, also where a tool has found it."""
    said = {"type": "text", "text": "Y\nhttps://x/y\n\na\nb", "cache_control": MARK}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [FOUND]}
    turns = [user(FOUND), assistant(CALL | {"id": "t"}), user(result)]
    first, _, second = chat(messages=turns)["messages"]
    assert first["content"] == second["content"] == [said]


def test_a_search_for_tools_loses_nothing() -> None:
    """All are offered at once: Anthropic's own search is left out, and what a client's has found is told."""
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    deferred = {"name": "mcp__wx__look_up", "input_schema": {"type": "object"}, "defer_loading": True}
    found = [{"type": "tool_reference", "tool_name": "mcp__wx__look_up"}]
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "tool_search_tool_regex", "input": {}}
    result = {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": {"type": "odd"}}
    turns = [
        user(text("hi")),
        assistant(use, result, CALL),
        user({"type": "tool_result", "tool_use_id": "toolu_1", "content": found}),
    ]
    made = messages_as_chat(json.dumps(asked(messages=turns, tools=[search, deferred])).encode())
    assert made.unsaid == ()
    said = json.loads(made.body)
    assert [tool["function"]["name"] for tool in said["tools"]] == ["mcp__wx__look_up"]
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "tool"]
    assert said["messages"][2]["content"] == "The tool mcp__wx__look_up can be called now."


def test_a_document_by_its_url_is_a_file() -> None:
    """Gemini and Claude fetch it themselves."""
    document = {"type": "document", "title": "Y", "source": {"type": "url", "url": "https://x/y.pdf"}}
    (message,) = chat(messages=[user(document)])["messages"]
    file = {"filename": "Y", "file_data": "https://x/y.pdf"}
    assert message["content"] == [{"type": "file", "file": file}]


UNSAID: list[tuple[dict[str, Any], str]] = [
    ({"messages": [user({"type": "container_upload", "file_id": "f"})]}, "messages[0].content[0]"),
    ({"messages": [user({"type": "text"})]}, "messages[0].content[0]"),
    ({"messages": [user({"type": "search_result", "content": {"odd": 1}})]}, "messages[0].content[0]"),
    ({"messages": [user(FOUND | {"citations": {"enabled": True}})]}, "messages[0].content[0]"),
    (
        {"messages": [user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "odd"}]})]},
        "messages[0].content[0].content[0]",
    ),
    ({"messages": [assistant({"type": "server_tool_use", "input": []})]}, "messages[0].content[0]"),
    (
        {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
        "messages[0].content[0].source",
    ),
    (
        {
            "messages": [
                user(
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "T"},
                        "citations": {"enabled": True},
                    }
                )
            ]
        },
        "messages[0].content[0].citations",
    ),
    ({"system": [{"type": "image"}]}, "system[0]"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ({"container": "c"}, "container"),
    ({"compaction": {"type": "summarize"}}, "compaction"),
    ({"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}}, "billing_policy"),
    (
        {
            "messages": [
                user({"type": "document", "source": {"type": "content", "content": [{"type": "odd"}]}})
            ]
        },
        "messages[0].content[0].source.content[0]",
    ),
]


@pytest.mark.parametrize(("members", "param"), UNSAID, ids=[r[1] for r in UNSAID])
def test_unsaid(members: dict[str, Any], param: str) -> None:
    """What chat cannot say is left out and named, and what remains is a request that chat knows."""
    said = messages_as_chat(json.dumps(asked(**members)).encode())
    assert [each.param for each in said.unsaid] == [param]
    assert "; " in said.unsaid[0].message
    assert json.loads(said.body)["messages"]


def test_a_wrong_type_is_named_where_it_stands() -> None:
    """A block of a wrong shape is named with the way to it."""
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.messages\[0\]\.content\[1\]\.text`"):
        chat(messages=[user(text("x"), {"type": "text", "text": 1})])


def test_dropped_members_are_named() -> None:
    """What agents send unasked is left out, and named."""
    sent = {"context_management": {"edits": []}, "speed": "fast", "fallbacks": "default"}
    said = messages_as_chat(json.dumps(asked(**sent, thread=None)).encode())
    assert said.dropped == ("context_management", "fallbacks", "speed")
    assert not json.loads(said.body).keys() & sent.keys()


def test_begun() -> None:
    """A last turn of the assistant's is the beginning of the answer."""
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "One,"}]
    assert messages_as_chat(json.dumps(asked(messages=turns)).encode()).begun == "One,"
    assert messages_as_chat(json.dumps(asked()).encode()).begun == ""


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
blocks_of = st.lists(words.map(text), min_size=1, max_size=3)


@given(st.lists(st.tuples(blocks_of, blocks_of), min_size=1, max_size=3), words)
def test_there_and_back(turns: list[tuple[Any, Any]], system: str) -> None:
    """Said as chat and then to Anthropic again, a conversation has the same texts in the same turns."""
    given_turns = [turn for asks, says in turns for turn in (user(*asks), assistant(*says))]
    said = messages_as_chat(json.dumps(asked(messages=given_turns, system=system)).encode())
    back = json.loads(messages_request(said.body, Unsaid("Anthropic", drop=False)).body)
    assert [each["role"] for each in back["messages"]] == [each["role"] for each in given_turns]
    for was, now in zip(given_turns, back["messages"], strict=True):
        assert "".join(b["text"] for b in was["content"]) == "".join(b["text"] for b in now["content"])
    assert [each["text"] for each in back["system"]] == [system]
    assert back["max_tokens"] == 9
