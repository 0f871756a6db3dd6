"""What is not sent to a local engine: requests that would stop it, crash it or be silently ignored. Pure.

A hosted provider guards itself; an engine of ours is one process, and what hangs it hangs every other call.
The bounds were found by trying (docs/engine.md).
"""

from __future__ import annotations

from airboss.domain.errors import ApiError, BodyTooLarge, InvalidRequest
from airboss.gateway.splice import members
from airboss.gateway.wire import Body, ChatBody, CompletionBody

BODY_BYTES_MAX = 4 * 1024 * 1024
SCHEMA_BYTES_MAX = 64 * 1024
LOGIT_BIAS_MAX = 1000
LOGPROBS_MAX = 5
PROMPTS_MAX = 64
TOKENS_MAX = 2**31 - 1
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
NOT_TAKEN = ("grammar", "json_schema", "n_probs", "chat_template_kwargs", "reasoning_format", "lora")
"""The engine's own members, beside OpenAI's: a few thousand characters of some of them crash or stop it."""
IGNORED = ("echo", "suffix", "best_of")
"""Members of text completions that the engine would ignore without a word."""


def unfit(raw: bytes, body: Body) -> ApiError | None:  # noqa: PLR0911 - one return a rule
    """Why a request is not sent to a local engine, or None if it is."""
    if len(raw) > BODY_BYTES_MAX:
        return BodyTooLarge(
            f"the body is {len(raw)} bytes; a local model takes at most {BODY_BYTES_MAX}: send less text"
        )
    written = members(raw)
    for name in NOT_TAKEN:
        if written.get(name, b"null") != b"null":
            return InvalidRequest(f"{name!r} is not taken for local models; leave it out", param=name)
    schema = written.get("response_format", b"")
    if len(schema) > SCHEMA_BYTES_MAX or b'"pattern"' in schema:
        return InvalidRequest(
            f"'response_format' is {len(schema)} bytes; for a local model it has at most {SCHEMA_BYTES_MAX}, "
            "and no 'pattern'",
            param="response_format",
        )
    if len(body.logit_bias or ()) > LOGIT_BIAS_MAX:
        return InvalidRequest(
            f"'logit_bias' has over {LOGIT_BIAS_MAX} entries; send fewer", param="logit_bias"
        )
    if (body.max_tokens or 0) > TOKENS_MAX:
        return InvalidRequest(f"'max_tokens' is over {TOKENS_MAX}; lower it", param="max_tokens")
    if "" in ([body.stop] if isinstance(body.stop, str) else body.stop or ()):
        return InvalidRequest("'stop' has an empty text, which ends every answer; leave it out", param="stop")
    return _unfit_chat(body) if isinstance(body, ChatBody) else _unfit_completion(body, written)


def _unfit_chat(body: ChatBody) -> ApiError | None:
    for number, message in enumerate(body.messages):
        if message.role not in ROLES:
            return InvalidRequest(
                f"messages[{number}] has the role {message.role[:40]!r}; take one of {sorted(ROLES)}",
                param=f"messages[{number}].role",
            )
    return None


def _unfit_completion(body: Body, written: dict[str, bytes]) -> ApiError | None:
    for name in IGNORED:
        if written.get(name, b"null") not in {b"null", b"false", b"1", b'""'}:
            return InvalidRequest(f"{name!r} is not taken for local models; leave it out", param=name)
    if not isinstance(body, CompletionBody):
        return None
    if body.logprobs is not None and not 0 <= body.logprobs <= LOGPROBS_MAX:
        return InvalidRequest(
            f"'logprobs' is {body.logprobs}; it must be 0 to {LOGPROBS_MAX}", param="logprobs"
        )
    prompts = body.prompt if isinstance(body.prompt, list) else []
    if len(prompts) > PROMPTS_MAX and not isinstance(prompts[0], int):
        return InvalidRequest(
            f"'prompt' is a list of {len(prompts)}; a local model takes at most {PROMPTS_MAX}", param="prompt"
        )
    return None
