"""Going on with an answer that broke off: when that can be, and what is asked then. Pure.

Another attempt is given the conversation with what the client has as the assistant's last message, and goes
on with it; `gateway.seam` joins the two. Not where more than plain text was said or is asked for (tool calls,
reasoning, several choices, log probabilities, a schema, a grammar), not in a raw prompt, and not by a
provider that answers such a message instead of going on with it. Where a policy found something in the
answer, only the provider that said it is given its words again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.dialects.reckoning import CHARS_PER_TOKEN
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.answer import StreamedAnswer
from airboss.gateway.billing import told_part
from airboss.gateway.seam import Seam
from airboss.gateway.serving import Branch
from airboss.gateway.splice import join_members, members
from airboss.gateway.worker import Admitted
from airboss.providers.compatible import Reply
from airboss.providers.dialects import NAMES

ANSWERS_ANEW = frozenset({"openai", "azure"})
"""Kinds of providers whose chat models take an assistant's last message for a turn that is over."""
TOKEN_EACH = frozenset({"openai", "openai-compatible", "azure", "local"})
"""Kinds whose servers send each token as an event of its own, by and large."""
GO_ON = {"continue_final_message": b"true", "add_generation_prompt": b"false"}
"""How vLLM and SGLang are told; others pass over what they do not know."""

GRAMMARS = frozenset(
    {
        *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),
        *("structural_tag", "regex", "ebnf", "grammar", "json_schema"),
    }
)
"""Members by which servers (vLLM, SGLang, llama.cpp) hold an answer to a grammar: it would begin anew in the
middle of the answer."""

_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Last(msgspec.Struct):
    role: str = ""
    content: Any = None
    tool_calls: Any = None


_last = msgspec.json.Decoder(_Last).decode


class Continued(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on with `text`: a request as the client might have sent it, and the branch with what is left
    of its bounds."""

    request: InferenceRequest
    body: wire.Body
    branch: Branch
    first: Reply
    text: str
    tokens: int
    prompt_tokens: int | None
    blank: str
    exact: bool

    def seam(self) -> Seam:
        """Where one attempt's events join what came before."""
        return Seam(
            self.first,
            self.text,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            blank=self.blank,
            exact=self.exact,
        )


def continued(call: Admitted, cut: StreamedAnswer, source: Target, target: Target) -> Continued | None:
    """What `target` is asked so that it goes on with `cut`, which `source` said; None where it cannot."""
    text = cut.raw_text
    first = cut.assembly.first
    if not text or first is None or not _may(call, cut, source, target):
        return None
    pieces = cut.assembly.pieces
    tokens = pieces if source.kind in TOKEN_EACH else -(-len(text) // CHARS_PER_TOKEN)
    told = cut.seam or told_part(cut)  # what goes on has a longer prompt
    sent, blank = (text, "") if target.kind == "local" else (text.rstrip(), text[len(text.rstrip()) :])
    values = members(call.said.body)
    if not sent or _has_grammar(values, call.branch.release) or not _put(values, call.body, sent):
        return None
    release = _lowered(values, call.branch.release, tokens)
    if release is None:
        return None
    if target.kind == "openai-compatible" and isinstance(call.body, wire.ChatBody):
        values |= GO_ON
    raw = join_members(values)
    return Continued(
        request=msgspec.structs.replace(call.said, body=raw),
        body=wire.parse_body(call.request.operation, raw),
        branch=msgspec.structs.replace(call.branch, release=release),
        first=first,
        text=text,
        tokens=tokens,
        prompt_tokens=told.prompt_tokens or None if told is not None else None,
        blank=blank,
        exact=target.kind == "local",
    )


def _may(call: Admitted, cut: StreamedAnswer, source: Target, target: Target) -> bool:
    if target.continuation == "off" or call.branch.release.form == "completion":
        return False
    chat = isinstance(call.body, wire.ChatBody)
    if not chat and target.kind in NAMES:
        return False  # these get the text as what a user says: they would answer it, whatever they go on with
    if target.continuation == "auto" and chat and target.kind in ANSWERS_ANEW:
        return False
    if call.screen is not None and target.provider != source.provider and call.screen.found_in(cut):
        return False
    asked = _asked(call)
    logprobs = asked("logprobs")  # 0 is a number of them
    if asked("n") not in {None, 1} or not (logprobs is None or logprobs is False) or asked("echo"):
        return False
    shape = asked("response_format")
    return shape is None or _type_of(shape) == "text"


def _asked(call: Admitted) -> Any:
    release, body = call.branch.release, call.body

    def value(name: str) -> Any:
        if name in release.params_force:
            return release.params_force[name]
        said = getattr(body, name, None)
        return said if said is not None else release.params.get(name)

    return value


def _has_grammar(values: Mapping[str, bytes], release: Release) -> bool:
    asked = {name for name, value in values.items() if value != b"null"}
    return not GRAMMARS.isdisjoint(asked | release.params.keys() | release.params_force.keys())


def _type_of(shape: Mapping[str, Any]) -> Any:
    said = shape.get("type")
    return msgspec.json.decode(said) if isinstance(said, msgspec.Raw) else said


def _put(values: dict[str, bytes], body: wire.Body, text: str) -> bool:
    """Put what was said at the end of what is asked; whether that can be."""
    if isinstance(body, wire.CompletionBody):
        if not isinstance(body.prompt, str) or body.suffix:
            return False
        values["prompt"] = _encode(body.prompt + text)
        return True
    messages = _messages(values["messages"])
    last = _last(messages[-1])
    if last.role == "assistant":
        # The client itself had begun the answer.
        if not isinstance(last.content, str) or last.tool_calls:
            return False
        changed = members(bytes(messages[-1]))
        changed["content"] = _encode(last.content + text)
        messages[-1] = msgspec.Raw(join_members(changed))
    else:
        messages.append(msgspec.Raw(_encode({"role": "assistant", "content": text})))
    values["messages"] = _encode(messages)
    return True


def _lowered(values: dict[str, bytes], release: Release, tokens: int) -> Release | None:
    """Lower every bound on the answer by what has been said; None where nothing is left."""
    least = msgspec.json.decode(values.get("min_tokens", b"null"))
    if isinstance(least, int):
        values["min_tokens"] = _encode(max(0, least - tokens))
    for name in ("max_tokens", "max_completion_tokens"):
        bound = msgspec.json.decode(values.get(name, b"null"))
        if isinstance(bound, int):
            if bound <= tokens:
                return None
            values[name] = _encode(bound - tokens)
    params = _lowered_params(release.params, tokens)
    forced = _lowered_params(release.params_force, tokens)
    if params is None or forced is None:
        return None
    if params is release.params and forced is release.params_force:
        return release
    return msgspec.structs.replace(release, params=params, params_force=forced)


def _lowered_params(params: dict[str, Any], tokens: int) -> dict[str, Any] | None:
    lowered, least = params, params.get("min_tokens")
    if isinstance(least, int):
        lowered = {**lowered, "min_tokens": max(0, least - tokens)}
    for name in ("max_tokens", "max_completion_tokens"):
        bound = params.get(name)
        if isinstance(bound, int):
            if bound <= tokens:
                return None
            lowered = {**lowered, name: bound - tokens}
    return lowered
