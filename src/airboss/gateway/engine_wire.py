"""What a local engine is sent: the members that it may have, and always the wish for a stream. Pure.

llama.cpp's server finds out that a client has gone when it writes to it. A whole answer is written once, at
the end; a stream with `return_progress` is written to after every piece of the prompt and every token.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.domain.release import Release
from airboss.gateway.wire import Body, ChatBody

read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""An object's members, their values as written; of a name written twice the last counts, as everywhere."""
_encode = msgspec.json.Encoder().encode

OPENAI = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    }
)
ENGINES_OWN = frozenset(
    {
        "top_k",
        "min_p",
        "typical_p",
        "top_n_sigma",
        "repeat_penalty",
        "repeat_last_n",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "xtc_probability",
        "xtc_threshold",
        "dynatemp_range",
        "dynatemp_exponent",
        "cache_prompt",
        "ignore_eos",
        "timings_per_token",
    }
)
"""Of the engine's own members those that no value makes dangerous."""
SENT = OPENAI | ENGINES_OWN

NOT_TAKEN = frozenset(
    {
        "grammar",
        "json_schema",
        "n_probs",
        "chat_template_kwargs",
        "reasoning_format",
        "lora",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "samplers",
        "n_predict",
        "n_keep",
        "n_discard",
        "n_indent",
        "n_cmpl",
        "n_cache_reuse",
        "min_keep",
        "t_max_predict_ms",
        "response_fields",
        "adaptive_target",
        "adaptive_decay",
        "id_slot",
        "backend_sampling",
        "post_sampling_probs",
        "return_tokens",
        "return_progress",
        "verbose",
        "sse_ping_interval",
        "chat_format",
        "generation_prompt",
        "parse_tool_calls",
        "chat_parser",
        "continue_final_message",
        "add_generation_prompt",
        "preserved_tokens",
        "grammar_lazy",
        "grammar_triggers",
        "grammar_type",
        "reasoning_control",
        "reasoning_budget_tokens",
        "reasoning_budget_start_tag",
        "reasoning_budget_end_tag",
        "reasoning_budget_end_tags",
        "reasoning_budget_message",
        "enable_thinking",
        "thinking_budget_tokens",
        "media_marker",
        "functions",
        "function_call",
    }
)
"""Members that the engine of this version knows, and a caller is refused: some stop it, take gigabytes or
crash it, and the others are its inner business. `functions` it would pass over in silence."""


def engine_body(body: bytes, parsed: Body, *, release: Release, tells: bool = False) -> bytes:
    """`body`, as it would go upstream, with the members that an engine may have, asking for a stream.
    `tells`: the client has words for which stop sequence ended an answer.

    A release's own parameters are the operator's to choose: they go through whatever they are called.
    """
    allowed = SENT | release.params.keys() | release.params_force.keys()
    values = {name: value for name, value in read_members(body).items() if name in allowed}
    if isinstance(parsed, ChatBody):
        for name in ("messages", "tools"):
            if b"null" in bytes(values.get(name, b"")):
                values[name] = msgspec.Raw(_encode(_said(msgspec.json.decode(values[name]))))
        if parsed.tools and parsed.logprobs and not parsed.stream:
            # The one thing that the engine has only in a whole answer.
            return _encode(values)
        if not parsed.stream:
            # An answer that goes on from an assistant's message begins with it, but in a stream does not.
            values["echo"] = _TRUE
    values |= {"stream": _TRUE, "stream_options": _WITH_USAGE, "return_progress": _TRUE}
    if tells and bytes(values.get("stop", _NULL)) not in {b"null", b"[]"}:
        values["verbose"] = _TRUE  # then it says so (`engine_answer.VERBOSE`)
    return _encode(values)


def _said(value: Any) -> Any:
    """Messages or tools without the members that are null: client libraries send those that are not set so,
    and the engine fails at a name, an id or a description that is no text."""
    if isinstance(value, list):
        return [_said(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: each if name == "parameters" else _said(each)
        for name, each in value.items()
        if each is not None or name == "content"
    }


def engine_answers(parsed: Body, release: Release) -> int:
    """How many answers each prompt gets."""
    wanted = release.params_force.get("n", parsed.n if parsed.n is not None else release.params.get("n"))
    return wanted if isinstance(wanted, int) else 1


_TRUE, _NULL = msgspec.Raw(b"true"), msgspec.Raw(b"null")
_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')
