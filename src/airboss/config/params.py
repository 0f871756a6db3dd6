"""The parameters of a request that a release may set, and what each of them is. Pure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """What values a parameter has: in words, of which types, and between which bounds if it is a number."""

    expected: str
    kinds: tuple[type, ...] = ()
    least: float = -math.inf
    most: float = math.inf

    def takes(self, value: object) -> bool:
        """Whether a value, as TOML or JSON has it, is such a one."""
        if not self.kinds:
            return True
        if isinstance(value, bool):
            return bool in self.kinds
        if isinstance(value, int | float | Decimal):
            kinds = (int,) if isinstance(value, int) else (float,)
            return any(kind in self.kinds for kind in kinds) and self.least <= value <= self.most
        return isinstance(value, self.kinds)


def _number(least: float, most: float) -> Rule:
    return Rule(f"a number from {least:g} to {most:g}", (int, float), least, most)


def _whole(least: int, most: int) -> Rule:
    return Rule(f"a whole number from {least:,} to {most:,}", (int,), least, most)


def _each(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


_TEXT = Rule("text in quotes", (str,))
_FLAG = Rule("true or false", (bool,))
_TABLE = Rule("a table", (dict,))
_LIST = Rule("a list", (list,))
_ANY_NUMBER = Rule("a number", (int, float))
_INTEGER = Rule("a whole number", (int,))
_CHOICE = Rule("text in quotes, or a table", (str, dict))
_ANY = Rule("anything")
_TOKENS = _whole(1, 10_000_000)

OPENAI: Final[Mapping[str, Rule]] = {
    "audio": _TABLE,
    "best_of": _whole(1, 128),
    "dimensions": _whole(1, 100_000),
    "echo": _FLAG,
    "encoding_format": _TEXT,
    "frequency_penalty": _number(-2, 2),
    "function_call": _CHOICE,
    "functions": _LIST,
    "include": _LIST,
    "instructions": _TEXT,
    "logit_bias": _TABLE,
    "logprobs": Rule("true, false or a whole number", (bool, int), 0, 20),
    "max_completion_tokens": _TOKENS,
    "max_output_tokens": _TOKENS,
    "max_tokens": _TOKENS,
    "max_tool_calls": _whole(1, 10_000),
    "modalities": _LIST,
    "moderation": _ANY,
    "n": _whole(1, 128),
    "parallel_tool_calls": _FLAG,
    "prediction": _TABLE,
    "presence_penalty": _number(-2, 2),
    "prompt_cache_key": _TEXT,
    "prompt_cache_retention": _TEXT,
    "reasoning": _TABLE,
    "reasoning_effort": _TEXT,
    "response_format": _TABLE,
    "safety_identifier": _TEXT,
    "seed": _INTEGER,
    "service_tier": _TEXT,
    "stop": Rule("text in quotes, or a list of texts", (str, list)),
    "store": _FLAG,
    "suffix": _TEXT,
    "temperature": _number(0, 2),
    "text": _TABLE,
    "tool_choice": _CHOICE,
    "tools": _LIST,
    "top_logprobs": _whole(0, 20),
    "top_p": _number(0, 1),
    "truncation": _TEXT,
    "verbosity": _TEXT,
    "web_search_options": _TABLE,
}
"""OpenAI's own."""

OTHERS: Final[Mapping[str, Rule]] = {
    **_each(
        "adaptive_decay adaptive_target dry_allowed_length dry_base dry_multiplier "
        "dry_penalty_last_n dynatemp_exponent dynatemp_range length_penalty min_p mirostat "
        "mirostat_eta mirostat_tau repeat_last_n repeat_penalty repetition_penalty top_a top_k "
        "top_n_sigma typical_p xtc_probability xtc_threshold",
        _ANY_NUMBER,
    ),
    **_each(
        "beam_width grammar_type id_slot max_new_tokens min_keep min_tokens n_cmpl n_discard "
        "n_indent n_keep n_predict n_probs num_ctx num_predict priority prompt_logprobs random_seed "
        "reasoning_budget_tokens thinking_budget_tokens truncate_prompt_tokens",
        _INTEGER,
    ),
    **_each(
        "add_generation_prompt add_special_tokens cache_prompt continue_final_message do_sample "
        "enable_thinking grammar_lazy ignore_eos include_reasoning include_stop_str_in_output "
        "no_stop_trim safe_prompt separate_reasoning skip_special_tokens "
        "spaces_between_special_tokens stream_reasoning use_beam_search",
        _FLAG,
    ),
    **_each(
        "chat_template ebnf grammar guided_decoding_backend guided_grammar guided_regex "
        "guided_whitespace_pattern prompt_mode reasoning_format regex structural_tag",
        _TEXT,
    ),
    **_each(
        "allowed_token_ids bad_words dry_sequence_breakers guided_choice samplers stop_sequences "
        "stop_token_ids",
        _LIST,
    ),
    **_each("guardrailConfig performanceConfig requestMetadata labels", _TABLE),
    "safetySettings": _LIST,
    "cachedContent": _TEXT,
    **_each(
        "chat_template_kwargs documents extra_body guided_json json_schema lora mm_processor_kwargs "
        "options provider structured_outputs thinking thinking_config transforms",
        _ANY,
    ),
}
"""What other servers and providers take beside them: llama.cpp, vLLM, SGLang, Mistral, Anthropic,
Bedrock, Gemini and such."""

KNOWN: Final[Mapping[str, Rule]] = {**OPENAI, **OTHERS}

_MISSPELT = 0.8
"""How alike a name must be to a known one to be taken for a slip even where any name may be sent."""


def misspelt(name: str) -> str | None:
    """The known name that an unknown one is taken to mean."""
    found = difflib.get_close_matches(name.lower(), KNOWN, n=1, cutoff=_MISSPELT)
    return found[0] if found else None
