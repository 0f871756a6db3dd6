"""`usage` in OpenAI's dialect, which every answer has inside of the gateway. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from airboss.providers.pricing import Buckets

TOKENS_MAX = 1_000_000_000
Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
"""A count of tokens that can be true; anything else is no count."""


class PromptDetails(msgspec.Struct):
    """`usage.prompt_tokens_details`."""

    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    """Not OpenAI's: what our translations say of providers that bill it apart."""
    cache_write_1h_tokens: Tokens | None = None
    """As above: those of them that are kept for an hour."""


class CompletionDetails(msgspec.Struct):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: Tokens | None = None


class Usage(msgspec.Struct):
    """`usage`, as billed: cached tokens are within `prompt_tokens`, reasoning within `completion_tokens`.
    None is what was not said."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    total_tokens: Any = None
    cached_tokens: Tokens | None = None
    """Where Moonshot has it."""
    prompt_cache_hit_tokens: Tokens | None = None
    """DeepSeek's own name of the same."""
    service_tier: Any = msgspec.UNSET
    """Where our translations have it, for what is billed at another price; OpenAI has it beside `usage`."""

    @property
    def cached(self) -> int:
        """Input tokens read from the provider's cache."""
        told = self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens
        return told or self.cached_tokens or self.prompt_cache_hit_tokens or 0

    @property
    def reasoning(self) -> int:
        """Output tokens spent on reasoning."""
        return (self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens) or 0

    @property
    def whole(self) -> bool:
        """Whether it says what both the prompt and the output had."""
        prompt, output = self.prompt_tokens is not None, self.completion_tokens is not None
        return (prompt and output) or ((prompt or output) and self._total is not None)

    @property
    def _total(self) -> int | None:
        told = self.total_tokens
        return told if isinstance(told, int) and 0 <= told <= TOKENS_MAX else None

    def buckets(self) -> Buckets:
        """The same, each token once, whatever was said: parts never come to more than the whole. Prompt or
        output is the rest of the total where it was not said, and nothing where the total alone was.

        xAI, and Gemini under OpenAI's dialect, count thoughts in `total_tokens` and not in
        `completion_tokens`: what is missing there was reasoning, and is billed as output.
        """
        prompt, output, total = self.prompt_tokens, self.completion_tokens, self._total
        thought = self.reasoning if self.completion_tokens_details is not None else 0
        if prompt is None:
            prompt = max(0, total - output) if total is not None and output is not None else 0
        elif output is None:
            output = max(0, total - prompt) if total is not None else 0
        elif total is not None and prompt + output < total:
            missing = total - prompt - output
            output, thought = output + missing, max(thought, missing)
        output = output or 0
        details, read = self.prompt_tokens_details, self.cached
        write = (details.cache_write_tokens or 0) if details is not None else 0
        if not (thought or read or write):  # as of most answers
            return Buckets(uncached=prompt, output=output)
        thought, read = min(thought, output), min(read, prompt)
        write = min(write, prompt - read)
        hour = (details.cache_write_1h_tokens or 0) if details is not None else 0
        return Buckets(
            uncached=prompt - read - write,
            cache_read=read,
            cache_write=write,
            output=output - thought,
            reasoning=thought,
            cache_write_1h=min(hour, write),
        )


class UsageSum:
    """The usage of all answers to one request: the engine reports each answer's on its own.

    `n` is how many answers each prompt gets. Every one reports the prompt, which counts once, as with OpenAI.
    """

    def __init__(self, n: int) -> None:
        self._n = max(1, n)
        self._prompt = self._output = self._cached = self._reasoning = 0
        self.reports = 0

    def add(self, usage: Usage) -> None:
        """Add one answer's."""
        self.reports += 1
        self._prompt += usage.prompt_tokens or 0
        self._output += usage.completion_tokens or 0
        self._cached += usage.cached
        self._reasoning += usage.reasoning

    def total(self) -> Usage | None:
        """The sum; None if nothing was reported."""
        if not self.reports:
            return None
        return Usage(
            prompt_tokens=self._prompt // self._n,
            completion_tokens=self._output,
            prompt_tokens_details=PromptDetails(cached_tokens=self._cached // self._n),
            completion_tokens_details=CompletionDetails(reasoning_tokens=self._reasoning)
            if self._reasoning
            else None,
        )
