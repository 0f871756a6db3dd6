"""Bodies that are wrong, each with its route; a right answer is a 4xx, for those in `ODD` it may be 200."""

from __future__ import annotations

import json
from typing import Any

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RESPONSES, MESSAGES, COUNT = "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"
TOKENS, FEEDBACK = "/v1/responses/input_tokens", "/v1/feedback"
RECORD = "01900000-0000-7000-8000-000000000000"

TURN = {"role": "user", "content": "hi"}
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": "gpt-4o", "messages": [TURN]},
    TEXT: {"model": "gpt-4o", "prompt": "hi"},
    EMBED: {"model": "gpt-4o", "input": "hi"},
    RESPONSES: {"model": "gpt-4o", "input": "hi"},
    TOKENS: {"model": "gpt-4o", "input": "hi"},
    MESSAGES: {"model": "gpt-4o", "max_tokens": 5, "messages": [TURN]},
    COUNT: {"model": "gpt-4o", "messages": [TURN]},
    FEEDBACK: {"record_id": RECORD, "name": "helpfulness", "value": 1},
}
"""A body of each route that is well."""

NUMBER: tuple[Any, ...] = ("x", [], {}, True)
WHOLE: tuple[Any, ...] = (*NUMBER, 1.5, 2**70)
TEXTUAL: tuple[Any, ...] = (7, [], {}, True)
FLAG: tuple[Any, ...] = ("x", 7, [], {})
LISTED: tuple[Any, ...] = ("x", 7, {}, True)
NAMED: tuple[Any, ...] = ("x", 7, [], True)

_SHARED = {
    "stream": FLAG,
    "stream_options": NAMED,
    "user": TEXTUAL,
    "metadata": NAMED,
    "n": WHOLE,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "max_tokens": WHOLE,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "seed": WHOLE,
    "stop": (7, {}, True, [7]),
    "logit_bias": (*NAMED, {"1": "x"}),
}
WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    CHAT: _SHARED
    | {
        "model": (*TEXTUAL, None, ""),
        "messages": (
            *LISTED,
            None,
            [],
            [7],
            ["x"],
            [None],
            [[]],
            [{}],
            [{"role": 7}],
            [TURN | {"content": 7}],
        ),
        "max_completion_tokens": WHOLE,
        "logprobs": FLAG,
        "top_logprobs": WHOLE,
        "response_format": NAMED,
        "tools": (*LISTED, [7]),
        "functions": (*LISTED, ["x"]),
        "tool_choice": (7, [], True),
        "parallel_tool_calls": FLAG,
    },
    TEXT: _SHARED
    | {
        "model": (*TEXTUAL, None, ""),
        "prompt": (7, {}, True, None, [{}], [[["x"]]]),
        "logprobs": WHOLE,
        "echo": FLAG,
        "best_of": WHOLE,
        "suffix": TEXTUAL,
    },
    EMBED: {
        "model": (*TEXTUAL, None, ""),
        "input": (7, {}, True, None, [{}]),
        "user": TEXTUAL,
        "stream": (*FLAG, True),
    },
    RESPONSES: {
        "model": (*TEXTUAL, None),
        "input": (7, {}, True, [7], [[]]),
        "instructions": (7, {}, True),
        "max_output_tokens": (*NUMBER, 1.5),
        "temperature": NUMBER,
        "top_p": NUMBER,
        "stream": FLAG,
        "store": FLAG,
        "tools": (*LISTED, [7]),
        "tool_choice": (7, [], True),
        "reasoning": NAMED,
        "text": NAMED,
        "metadata": NAMED,
        "previous_response_id": TEXTUAL,
        "user": TEXTUAL,
    },
    MESSAGES: {
        "model": (*TEXTUAL, None),
        "messages": (*LISTED, None, [], [7], [{}], [{"role": "system"}], [TURN | {"content": 7}]),
        "max_tokens": (*WHOLE, None, 0, -1),
        "system": (7, {}, True, [7]),
        "stop_sequences": (7, {}, "x", [7]),
        "stream": FLAG,
        "temperature": NUMBER,
        "tools": (*LISTED, [7], [{}]),
        "tool_choice": (7, [], True, "auto"),
        "thinking": NAMED,
        "metadata": NAMED,
    },
    COUNT: {
        "model": (*TEXTUAL, None),
        "messages": (*LISTED, None, [], [7], [{}]),
        "system": (7, {}, True, [7]),
        "tools": (*LISTED, [7]),
    },
    FEEDBACK: {
        "record_id": (
            *TEXTUAL,
            None,
            "",
            "x",
            RECORD[:-1],
            RECORD.replace("7000", "4000"),
            "f" * 8 + RECORD[8:],
        ),
        "name": (*TEXTUAL, None, "", "a b", "x" * 65, "é"),
        "value": (None, [], {}, "", "x" * 65, "a\nb", " a"),
        "comment": (*TEXTUAL, "x" * 4_001),
        "user": (*TEXTUAL, "x" * 16_385),
    },
}
"""Values that no reader of a member may take, for every member that we read."""
WRONG[TOKENS] = WRONG[RESPONSES]

DEEP = "[" * 250 + "]" * 250
NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"7",
    "text": b'"x"',
    "list": b"[]",
    "empty object": b"{}",
    "open brace": b"{",
    "closed brace": b"}",
    "open list": b'{"model":[',
    "open text": b'{"model":"x',
    "two objects": b"{}{}",
    "more after it": b'{"model":"gpt-4o"}x',
    "nul after it": b'{"model":"gpt-4o"}\x00',
    "nul before it": b'\x00{"model":"gpt-4o"}',
    "comma at the end": b'{"model":"gpt-4o",}',
    "comma first": b'{,"model":"gpt-4o"}',
    "comment": b'{"model":"gpt-4o"/* x */}',
    "single quotes": b"{'model':'gpt-4o'}",
    "no quotes": b"{model:1}",
    "form": b"model=gpt-4o&messages=hi",
    "multipart": b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--x--\r\n',
    "xml": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
    "yaml": b"model: !!python/object/apply:os.system ['true']",
    "pickle": b"\x80\x04\x95\x1f\x00\x00\x00",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "zip bomb": b"PK\x03\x04" + b"\x00" * 60,
    "byte order mark": b'\xef\xbb\xbf{"model":"gpt-4o"}',
    "utf-16": '{"model":"gpt-4o"}'.encode("utf-16"),
    "utf-32": '{"model":"gpt-4o"}'.encode("utf-32"),
    "bytes": b'{"model":"\xff\xfe"}',
    "bytes in a name": b'{"\xc3":1}',
    "cut utf-8": b'{"model":"\xe2\x82"}',
    "overlong utf-8": b'{"model":"\xc0\xaf"}',
    "surrogate in utf-8": b'{"model":"\xed\xa0\x80"}',
    "beyond unicode": b'{"model":"\xf4\x90\x80\x80"}',
    "lone high surrogate": b'{"model":"\\ud800"}',
    "lone low surrogate": b'{"model":"\\udc00"}',
    "surrogates turned round": b'{"model":"\\udc00\\ud800"}',
    "odd escape": b'{"model":"\\x41"}',
    "short escape": b'{"model":"\\u00"}',
    "line feed in a text": b'{"model":"a\nb"}',
    "nul in a text": b'{"model":"a\x00b"}',
    "NaN": b'{"model":"gpt-4o","temperature":NaN}',
    "Infinity": b'{"model":"gpt-4o","temperature":Infinity}',
    "-Infinity": b'{"model":"gpt-4o","temperature":-Infinity}',
    "1e999": b'{"model":"gpt-4o","temperature":1e999}',
    "plus": b'{"model":"gpt-4o","temperature":+1}',
    "leading zero": b'{"model":"gpt-4o","temperature":01}',
    "point first": b'{"model":"gpt-4o","temperature":.5}',
    "hex": b'{"model":"gpt-4o","n":0x1}',
    "deep lists": DEEP.encode(),
    "100,000 open lists": b"[" * 100_000,
    "100,000 open objects": b'{"a":' * 100_000,
}
"""What is no JSON object of ours at all, on any route."""


def repeated(route: str, name: str, *, escaped: bool = False, spaced: bool = False) -> bytes:
    """A good body with a member twice."""
    blank = b" " if spaced else b""
    pairs = [(each, json.dumps(value)) for each, value in GOOD[route].items()]
    pairs.append((name, json.dumps(GOOD[route].get(name))))
    texts = [f'"{each}":{blank.decode()}{value}' for each, value in pairs]
    if escaped:
        texts[-1] = texts[-1].replace(name[0], f"\\u{ord(name[0]):04x}", 1)
    return b"{%s}" % (b"," + blank).join(text.encode() for text in texts)


REPEATED: dict[str, tuple[str, bytes]] = {
    f"{name} twice{how}, {route}": (
        route,
        repeated(route, name, escaped=" escaped" in how, spaced=" spaced" in how),
    )
    for route, body in GOOD.items()
    for name in body
    for how in ("", " spaced", " escaped")
}


def with_members(route: str, text: str) -> bytes:
    """A good body with members more, as written."""
    return json.dumps(GOOD[route])[:-1].encode() + b"," + text.encode() + b"}"


ODD: dict[str, tuple[str, bytes]] = {
    f"{name}, {route}": (route, with_members(route, text))
    for route in GOOD
    for name, text in {
        "unknown member": '"frobnicate":{"a":[1,2]}',
        "empty name": '"":1',
        "name of 100 KB": '"%s":1' % ("n" * 100_000),
        "number of 10,000 digits": '"x":%s' % ("9" * 10_000),
        "number with a great exponent": '"x":1e99999',
        "minus 0": '"x":-0',
        "deep": '"x":' + DEEP,
        "nul escaped": '"x":"\\u0000"',
        "10,000 members": ",".join(f'"x{i}":{i}' for i in range(10_000)),
        "__proto__": '"__proto__":{"stream":true}',
        "__class__": '"__class__":{"__init__":{"__globals__":1}}',
        "template": '"x":"{{7*7}} ${7*7} <%= 7*7 %>"',
    }.items()
}
"""What is odd, and may be read over."""
