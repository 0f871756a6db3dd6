"""What is not sent to a local engine: requests that would stop it, crash it or be silently ignored. Pure.

A hosted provider guards itself; an engine of ours is one process, and what hangs it hangs every other call.
The bounds were found by trying (docs/engine.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from airboss.dialects.speech import CHATS, Ranges
from airboss.domain.errors import BodyTooLarge, InvalidRequest
from airboss.domain.plan import Target
from airboss.gateway.engine_wire import NOT_TAKEN, read_members
from airboss.gateway.local_ranges import refuse_out_of_range
from airboss.gateway.schema_limits import unfit_schema
from airboss.gateway.wire import Body, ChatBody, CompletionBody, invalid
from airboss.providers.cut import cut

BODY_BYTES_MAX = 4 * 1024 * 1024
SCHEMA_BYTES_MAX = 64 * 1024
LOGIT_BIAS_MAX = 1000
LOGPROBS_MAX = 5
ANSWERS_MAX = 64
"""Prompts times `n`."""
TOKENS_MAX = 2**31 - 1
SEED_MAX = 2**63
STOP_CHARS_MAX = 16 * 1024
TOOLS_MAX = 128
TOKEN_BYTES_MAX = 256
"""No vocabulary has a longer token (the starter model's longest is 64 bytes), so a text of more bytes than
this times a slot's tokens cannot fit. To find that out the engine would read it: 4 MB took it 10 s."""
SAMPLER_MAX = 1e6
"""Of numbers that shape the choice of a token and have no range of their own. Far beyond it they are
infinite to the engine, and with a schema it then chooses what it may not, and fails."""
SAMPLERS = (
    "dynatemp_exponent",
    "dynatemp_range",
    "mirostat_eta",
    "mirostat_tau",
    "repeat_penalty",
    "top_n_sigma",
)
LOOK_BACK_MAX = 65_536
"""Tokens that a penalty for repetition looks back at: the engine makes room for them, and took 2 s for a
million."""
IGNORED = ("echo", "suffix", "best_of")
"""Members of text completions that the engine would ignore without a word."""

Raw = msgspec.Raw
Members = Mapping[str, Raw]


class _Part(msgspec.Struct):
    text: str


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    type: Literal["function"]
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    """A message in the shapes that the engine reads; others are a 500 there."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class _ToolFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _ToolFunction


class _JsonSchema(msgspec.Struct):
    schema: dict[str, Any] | None = None


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None
    schema: dict[str, Any] | None = None


_messages = msgspec.json.Decoder(list[_Message])
_tools = msgspec.json.Decoder(list[_Tool] | None)
_response_format = msgspec.json.Decoder(_ResponseFormat | None)
_NO_FUNCTION = re.compile(r"^Invalid enum value '(.*)' - at `\$(\[\d+\](?:\.tool_calls\[\d+\])?\.type)`$")
"""A tool that is no function, or a call of one."""


def refuse_unfit(raw: bytes, body: Body, *, slot_tokens: int | None, ranges: Ranges = CHATS) -> None:
    """Raise InvalidRequest or BodyTooLarge for a request that is not sent to a local engine.

    `slot_tokens` is the most that prompt and answer may have together, None if that is not known; `ranges`
    are those of the client's dialect.
    """
    if len(raw) > BODY_BYTES_MAX:
        raise BodyTooLarge(
            f"the body is {len(raw)} bytes; a local model takes at most {BODY_BYTES_MAX}: send less text"
        )
    written = read_members(raw)
    for name in written:
        if name in NOT_TAKEN and bytes(written[name]) != b"null":
            raise InvalidRequest(
                f"{name!r} is not taken for local models{INSTEAD.get(name, '; leave it out')}", param=name
            )
    _check_values(body)
    refuse_out_of_range(body, written, ranges)
    _check_samplers(written)
    _check_format(written)
    if isinstance(body, ChatBody):
        _check_chat(body, written, slot_tokens)
    elif isinstance(body, CompletionBody):
        _check_completion(body, written, slot_tokens)


INSTEAD: Mapping[str, str] = {
    "n_predict": "; use 'max_tokens'",
    "n_cmpl": "; use 'n'",
    "n_probs": "; use 'logprobs' and 'top_logprobs'",
    "grammar": "; use 'response_format' with a JSON schema",
    "json_schema": "; use 'response_format'",
    "functions": "; use 'tools'",
    "function_call": "; use 'tools'",
}


def _decoded(decoder: msgspec.json.Decoder[Any], written: Members, name: str) -> Any:
    """A member in its shape. Raises InvalidRequest that says where it has another."""
    try:
        return decoder.decode(written[name])
    except msgspec.ValidationError as error:
        other = _NO_FUNCTION.match(str(error))
        if other is not None:
            raise InvalidRequest(
                f"'{name}{other[2]}' is {cut(other[1], 40)!r}; local models have functions only: leave it "
                "out or say it as a function of one text, 'input'",
                param=f"{name}{other[2]}",
            ) from None
        # The decoder's path begins at the member: `$[0].role`.
        where = str(error) if " - at `$" in str(error) else f"{error} - at `$`"
        raise invalid(where.replace("`$", f"`$.{name}", 1)) from None


def _check_values(body: Body) -> None:
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if "" in stops:
        raise InvalidRequest("'stop' has an empty text, which ends every answer; leave it out", param="stop")
    if sum(map(len, stops)) > STOP_CHARS_MAX:
        raise InvalidRequest(
            f"'stop' has {sum(map(len, stops))} characters together; a local model takes at most "
            f"{STOP_CHARS_MAX}",
            param="stop",
        )
    bias = body.logit_bias or {}
    if len(bias) > LOGIT_BIAS_MAX:
        raise InvalidRequest(
            f"'logit_bias' has over {LOGIT_BIAS_MAX} entries; send fewer", param="logit_bias"
        )
    for name in ("max_tokens", "max_completion_tokens"):
        if (getattr(body, name, None) or 0) > TOKENS_MAX:
            raise InvalidRequest(f"{name!r} is over {TOKENS_MAX}; lower it", param=name)
    if abs(body.seed or 0) > SEED_MAX:
        raise InvalidRequest(f"'seed' is beyond {SEED_MAX}; send a smaller one", param="seed")


def _check_samplers(written: Members) -> None:
    for name in SAMPLERS:
        value = _number(written, name)
        if value is not None and abs(value) > SAMPLER_MAX:
            raise InvalidRequest(
                f"{name!r} is {value:g}; a local model takes {SAMPLER_MAX:g} at most", param=name
            )
    if (back := _number(written, "repeat_last_n")) is not None and back > LOOK_BACK_MAX:
        raise InvalidRequest(
            f"'repeat_last_n' is {back:g}; a local model looks back at {LOOK_BACK_MAX} tokens at most",
            param="repeat_last_n",
        )


def _number(written: Members, name: str) -> float | None:
    """A member, if it is a number."""
    if name not in written:
        return None
    value = msgspec.json.decode(written[name])
    return value if isinstance(value, int | float) else None


def _check_format(written: Members) -> None:
    if "response_format" not in written:
        return
    param = "response_format"
    size = len(bytes(written[param]))
    if size > SCHEMA_BYTES_MAX:
        raise InvalidRequest(
            f"'response_format' is {size} bytes; for a local model it has at most {SCHEMA_BYTES_MAX}",
            param=param,
        )
    wanted: _ResponseFormat | None = _decoded(_response_format, written, param)
    if wanted is None:
        return
    for schema in (wanted.schema, wanted.json_schema.schema if wanted.json_schema else None):
        wrong = unfit_schema(schema) if schema is not None else None
        if wrong is not None:
            raise InvalidRequest(f"the schema of 'response_format' {wrong}", param=param)


def _check_chat(body: ChatBody, written: Members, slot_tokens: int | None) -> None:
    _check_calls(_decoded(_messages, written, "messages"))
    if slot_tokens is not None:
        if len(body.messages) > slot_tokens:
            raise too_long(f"{len(body.messages)} messages", slot_tokens, param="messages")
        size = len(bytes(written["messages"]))
        if size > slot_tokens * TOKEN_BYTES_MAX:
            raise too_long(f"messages of {size} bytes", slot_tokens, param="messages")
    if body.tools:
        _check_tools(body, written)


def _check_calls(messages: Sequence[_Message]) -> None:
    """The engine's templates read arguments, and fail at what is no JSON."""
    for number, message in enumerate(messages):
        for at, call in enumerate(message.tool_calls or ()):
            try:
                msgspec.json.decode(call.function.arguments)
            except (msgspec.DecodeError, RecursionError):
                where = f"messages[{number}].tool_calls[{at}].function.arguments"
                raise InvalidRequest(
                    f"{where} is no JSON: {cut(call.function.arguments, 80)!r}; send an object, "
                    "'{}' for none",
                    param=where,
                ) from None


def _check_tools(body: ChatBody, written: Members) -> None:
    if len(body.tools or ()) > TOOLS_MAX:
        raise InvalidRequest(
            f"'tools' has {len(body.tools or ())} entries; a local model takes at most {TOOLS_MAX}",
            param="tools",
        )
    size = len(bytes(written["tools"]))
    if size > SCHEMA_BYTES_MAX:
        raise InvalidRequest(
            f"'tools' is {size} bytes; for a local model it has at most {SCHEMA_BYTES_MAX}", param="tools"
        )
    tools: list[_Tool] = _decoded(_tools, written, "tools")
    for number, tool in enumerate(tools):
        wrong = unfit_schema(tool.function.parameters)
        if wrong is not None:
            raise InvalidRequest(
                f"the schema of tools[{number}] {wrong}", param=f"tools[{number}].function.parameters"
            )
    if isinstance(body.tool_choice, dict):
        raise InvalidRequest(
            "'tool_choice' names a tool, which a local model would ignore; send that tool alone, with "
            "'tool_choice' of 'required'",
            param="tool_choice",
        )


def _check_completion(body: CompletionBody, written: Members, slot_tokens: int | None) -> None:
    for name in IGNORED:
        if bytes(written.get(name, _NULL)) not in {b"null", b"false", b"1", b'""'}:
            raise InvalidRequest(f"{name!r} is not taken for local models; leave it out", param=name)
    if body.logprobs is not None and not 0 <= body.logprobs <= LOGPROBS_MAX:
        raise InvalidRequest(
            f"'logprobs' is {body.logprobs}; it must be 0 to {LOGPROBS_MAX}", param="logprobs"
        )
    _check_prompts(body, slot_tokens)


_NULL = Raw(b"null")


def _check_prompts(body: CompletionBody, slot_tokens: int | None) -> None:
    # A list with a number in it is one prompt, of tokens and texts.
    several = isinstance(body.prompt, list) and not any(isinstance(part, int) for part in body.prompt)
    prompts = body.prompt if several and isinstance(body.prompt, list) else [body.prompt]
    if len(prompts) * (body.n or 1) > ANSWERS_MAX:
        raise InvalidRequest(
            f"'prompt' and 'n' ask for {len(prompts) * (body.n or 1)} answers; a local model makes at most "
            f"{ANSWERS_MAX}",
            param="prompt",
        )
    if (body.n or 1) > 1 and any(prompt in ("", []) for prompt in prompts):
        # The engine begins one answer for all of them, and waits for tokens that do not come.
        raise InvalidRequest("'prompt' is empty, and 'n' is over 1; send a text, or ask once", param="prompt")
    for prompt in prompts:
        parts = prompt if isinstance(prompt, list) else [prompt]
        if any(isinstance(part, int) and not 0 <= part <= TOKENS_MAX for part in parts):
            raise InvalidRequest("'prompt' has a number that is no token", param="prompt")
        if slot_tokens is None:
            continue
        size = sum(len(part) if isinstance(part, str) else 0 for part in parts)
        if len(parts) > slot_tokens or size > slot_tokens * TOKEN_BYTES_MAX:
            what = f"a prompt of {size} characters" if size else f"a prompt of {len(parts)} tokens"
            raise too_long(what, slot_tokens, param="prompt")


def too_long(what: str, slot_tokens: int, *, param: str) -> InvalidRequest:
    """The error for what cannot fit a slot, with the code that OpenAI has for it."""
    return InvalidRequest(
        f"{what}: more than the {slot_tokens} tokens that a slot of this model has for prompt and answer "
        "together; send less, or give the model more context_tokens or fewer slots",
        code="context_length_exceeded",
        param=param,
    )


def refuse_unsupported(body: ChatBody, deployment: str, target: Target) -> None:
    """Refuse what the deployment's model would ignore or fail at. Raises InvalidRequest."""
    if not target.tools and (body.tools or body.functions):
        raise InvalidRequest(
            f"deployment {deployment!r} cannot call tools: its model's chat template has no place for "
            "them; leave out 'tools', or use a deployment whose model has tools",
            code="tools_unsupported",
            param="tools" if body.tools else "functions",
        )
    if target.kind != "local":
        return
    for number, message in enumerate(body.messages):
        for part in message.content if isinstance(message.content, list) else ():
            if part.type != "text":
                raise InvalidRequest(
                    f"deployment {deployment!r} reads text only, messages[{number}] has a part of type "
                    f"{cut(part.type, 40)!r}; leave it out, or use a deployment whose model reads it",
                    code="content_unsupported",
                    param=f"messages[{number}].content",
                )
