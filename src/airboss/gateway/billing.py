"""What each attempt of a call used and cost, and the call by them all.

A provider's own numbers are taken where it gave them. Where it did not, because the answer broke off or it
never says, tokens are counted here, and the record says `usage_estimated`: what was produced is paid for, and
the prompt with it. An attempt that produced nothing used nothing, unless we gave it up while it was at work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from airboss.config.tiers import tier_named
from airboss.domain.plan import Target
from airboss.domain.record import Attempt, AttemptUsage
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.gateway.attempts import Dispatched, Try
from airboss.gateway.engine_whole import EngineWholeAnswer
from airboss.gateway.judge import HEDGE_LOST
from airboss.providers import o200k
from airboss.providers.compatible import Reply
from airboss.providers.pricing import Buckets, cost_usd, priced_by
from airboss.providers.usage import Usage

PART_TOKENS = 1_000
"""A picture or a sound, whose bytes say nothing of its tokens."""
MESSAGE_TOKENS = 4
"""What tells one message from the next, with OpenAI's models."""
DATA_CHARS = 2_000
"""Longer than this without a space is data, not text."""
_AS_TEXT = frozenset({"tools", "functions", "response_format", "toolConfig", "tool_config"})
"""Members that the model reads as they stand, names and all."""
_NOT_READ = frozenset({"model", "role", "type", "id", "tool_call_id", "toolUseId", "user", "metadata"})
_SAID = re.compile(
    rb'"(content|text|refusal|arguments|reasoning_content|reasoning|thinking)"\s*:\s*'
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)',
    re.DOTALL,
)
_THOUGHTS = frozenset({b"reasoning_content", b"reasoning", b"thinking"})

_usage = msgspec.json.Decoder(Usage)


def is_counted(tries: Iterable[Try]) -> bool:
    """Whether `bill` has to count: somebody did not tell what was used."""
    return any(each.told is None for each in tries)


counts_ready = o200k.ready
"""Whether `bill` can count at once: the tokenizer has been read."""
load_counts = o200k.load
"""Reads the tokenizer: a tenth of a second, for a thread."""


def bill(dispatched: Dispatched, target: Target) -> tuple[tuple[Attempt, ...], AttemptUsage, Decimal | None]:
    """The attempts of a call whose release is served at `target`, with what each used and cost, and all of it
    together. A cost of None is not known."""
    if len(dispatched.tries) == 1:
        only = _attempt(dispatched.tries[0], dispatched.started)
        if only.usage is not None:
            return (only,), only.usage, only.cost_usd
    attempts = []
    total: AttemptUsage | None = None
    cost: Decimal | None = None
    for each in dispatched.tries:
        attempt = _attempt(each, dispatched.started)
        attempts.append(attempt)
        if attempt.usage is None:
            continue
        if total is None:
            total, cost = attempt.usage, attempt.cost_usd
        else:
            total = _sum(total, attempt.usage)
            cost = cost + attempt.cost_usd if cost is not None and attempt.cost_usd is not None else None
    if total is None:
        total = AttemptUsage(input_tokens=0, output_tokens=0)
        cost = cost_usd(target, Buckets())
    return tuple(attempts), total, cost


def _sum(one: AttemptUsage, other: AttemptUsage) -> AttemptUsage:
    names = AttemptUsage.__struct_fields__
    both = {name: getattr(one, name) + getattr(other, name) for name in names if name != "estimated"}
    return AttemptUsage(**both, estimated=one.estimated or other.estimated)


def _attempt(tried: Try, started: float) -> Attempt:
    """The record of an attempt of a call that was started then."""
    target, answer, began, told = tried.target, tried.answer, tried.began, tried.told
    used = told.buckets() if told is not None else _counted(tried)
    first_at = answer.first_output_at
    usage = cost = by = None
    if used is not None:
        usage = AttemptUsage(
            used.input, used.written, used.cache_read, used.cache_write, used.reasoning, told is None
        )
        tier = tier_named(told.service_tier) if told is not None and told.service_tier else ""
        cost, by = cost_usd(target, used, tier), priced_by(target, tier)
    return Attempt(
        target.provider,
        target.upstream_model,
        tried.place.url,
        # Cut to microseconds; `round` costs three times as much.
        int((began - started) * 1e6) / 1000,
        int((tried.ended - began) * 1e6) / 1000,
        int((first_at - began) * 1e6) / 1000 if first_at else None,
        answer.status,
        tried.error,
        tried.why,
        usage,
        cost,
        by,
    )


def _counted(tried: Try) -> Buckets | None:
    """What an attempt used, as far as it has been told, and the rest counted; None where it used nothing."""
    answer = tried.answer
    said, thought, chars = _produced(answer)
    told = told_part(answer)
    if not (said or thought or told or tried.error is None or _given_up(tried)):
        return None
    known = told.buckets() if told is not None else Buckets()
    reasoning = o200k.count(thought) if thought else 0
    output = o200k.count(said) if said else 0
    if chars > len(said):  # more than is kept of it
        output = output * chars // max(1, len(said))
    if not known.input:
        body = bytes(tried.request).partition(b"\r\n\r\n")[2]
        known = msgspec.structs.replace(known, uncached=prompt_tokens(body))
    all_told = told is not None and told.completion_tokens is not None and tried.error is None
    if known.written > output + reasoning or (all_told and not answer.usage_short):
        return known
    return msgspec.structs.replace(known, output=output, reasoning=reasoning)


def told_part(answer: AnyAnswer) -> Usage | None:
    """What the upstream has said of the usage of an answer that is not whole."""
    usage = answer.error_usage
    if usage is not None:
        return usage
    if isinstance(answer, StreamedAnswer):
        usage = answer.told_usage
    elif answer.reply is not None:
        usage = answer.reply.usage
    if usage is None and answer.translation is not None:
        told = answer.translation.told()
        usage = _usage.decode(msgspec.json.encode(told)) if told is not None else None
    return usage


def _given_up(tried: Try) -> bool:
    """Whether we left an upstream that was at work: it had the request, and nobody wants its answer any more,
    or it had begun one and was too slow."""
    failure = tried.error
    if failure in {"cancelled", HEDGE_LOST}:
        return tried.sent
    return failure is not None and failure.startswith("timeout_") and tried.answer.status == 200


def _produced(answer: AnyAnswer) -> tuple[str, str, int]:
    """What was said, what was thought, and how many characters were said, of which not all need be kept."""
    if isinstance(answer, StreamedAnswer):
        return answer.produced()
    if answer.reply is not None:
        said, thought = _replied(answer.reply)
    elif isinstance(answer, EngineWholeAnswer):
        said, thought = answer.produced()
    else:
        said, thought = _cut(answer.so_far) if answer.status == 200 else ("", "")
    return said, thought, len(said)


def _replied(reply: Reply) -> tuple[str, str]:
    said, thought = list[str](), list[str]()
    for choice in reply.choices or ():
        said.append(choice.text or "")
        if choice.message is not None:
            said += [choice.message.content or "", choice.message.refusal or ""]
            said += [msgspec.json.encode(call).decode() for call in choice.message.tool_calls or ()]
            thought.append(choice.message.thought or "")
    return "".join(said), "".join(thought)


def _cut(body: bytes) -> tuple[str, str]:
    """The texts in the beginning of a whole answer, whatever its dialect."""
    said, thought = list[str](), list[str]()
    for name, text in _SAID.findall(body):
        try:
            read = msgspec.json.decode(b'"%s"' % text, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):  # cut inside of a character, or not UTF-8
            read = text.decode("utf-8", "replace")
        (thought if name in _THOUGHTS else said).append(read)
    return "".join(said), "".join(thought)


def prompt_tokens(body: bytes) -> int:
    """The tokens of a request's body in any provider's dialect: of its texts, and so many for each message
    and for each part that is no text."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return o200k.count(body.decode("utf-8", "replace"))
    texts: list[str] = []
    return _read(value, texts) + (o200k.count("\n".join(texts)) if texts else 0)


def _read(value: Any, texts: list[str]) -> int:
    """Gather the texts in a request; returns the tokens beside them."""
    tokens = 0
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            if each.startswith("data:") or (len(each) > DATA_CHARS and " " not in each):
                tokens += PART_TOKENS
            else:
                texts.append(each)
        elif isinstance(each, list):
            tokens += sum(isinstance(item, int) for item in each)  # a prompt that is tokens already
            left += each
        elif isinstance(each, dict):
            tokens += MESSAGE_TOKENS * ("role" in each)
            tokens += PART_TOKENS * isinstance(each.get("url"), str)
            texts += [msgspec.json.encode(each[name]).decode() for name in _AS_TEXT & each.keys()]
            left += [item for name, item in each.items() if name not in _AS_TEXT | _NOT_READ | {"url"}]
    return tokens
