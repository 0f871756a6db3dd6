"""How much one of Anthropic's models may say, and how long it may think. Pure.

Models up to 4.5 are given a budget of tokens. Later ones decide themselves and are told an effort; the newest
take no budget. They also take strict schemas as they are, and one that is made to call a tool cannot think.
From 4.7 on a model takes no temperature, `top_p` or `top_k`, which many clients send unasked. The newest
think always, and cannot be made to call a tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airboss.providers.anthropic_schema import DEPTH_MAX, fitted
from airboss.providers.chat_request import ChatRequest, Json, no_effort
from airboss.providers.dialect import Unsaid

ANSWER_TOKENS = 4096
"""The most tokens of an answer where nobody says: the most that every model of theirs can give."""
BUDGETS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
"""Tokens of thinking by effort; 1024 is the least that is taken."""
EFFORTS: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""Efforts as they name them."""
_VERSION = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2})(?!\d))?(?!\d)")
_FIRST_ADAPTIVE = (4, 6)
_FIRST_XHIGH = (4, 7)
"""The first that know the effort `xhigh`: those before them know `max`, and refuse it."""
_FIRST_UNSAMPLED = (4, 7)
_FIRST_UNFORCED = {"fable": (5, 1), "mythos": (5, 1), "opus": (5, 5), "sonnet": (5, 5)}
"""The first of a family that cannot be made to call a tool."""
_FIRST_RESTLESS = {"fable": (5, 0), "mythos": (5, 0), "opus": (5, 5)}
"""The first that always thinks: the least effort is what comes next to none."""
_FIRST_BETWEEN_TOOLS = {"sonnet": (5, 5)}
"""The first that thinks between calls at least."""


def is_adaptive(model: str) -> bool:
    """Whether a model decides itself how long it thinks. One whose name says no version is taken for new."""
    family, version = _named(model)
    return version >= _FIRST_ADAPTIVE if family else "claude-3" not in model and "claude-2" not in model


def is_unforced(model: str) -> bool:
    """Whether a model cannot be made to call a tool."""
    return _since(model, _FIRST_UNFORCED)


def _named(model: str) -> tuple[str, tuple[int, int]]:
    """The family and version in a model's name; "" where it says none."""
    found = _VERSION.search(model)
    return (found[1], (int(found[2]), int(found[3] or 0))) if found else ("", (0, 0))


def _since(model: str, first: Mapping[str, tuple[int, int]]) -> bool:
    family, version = _named(model)
    return family in first and version >= first[family]


def settle_sampling(value: Json, model: str, unsaid: Unsaid) -> None:
    """Leave out of a request how its words are drawn where the model takes none of that, and what asks for
    nothing where two do not go together."""
    if _named(model)[1] >= _FIRST_UNSAMPLED:
        for name in [each for each in ("temperature", "top_p", "top_k") if each in value]:
            if value.pop(name) != 1 or name == "top_k":
                unsaid.note(name)
    elif "claude" in model and value.get("top_p") == 1 and "temperature" in value:
        del value["top_p"]
    elif "claude" in model and value.get("temperature") == 1 and "top_p" in value:
        del value["temperature"]


def native_schema(request: ChatRequest) -> Json | None:
    """The answer's schema where it can be said as such, as it is taken; None where a tool stands for it."""
    wanted = request.response_format.json_schema if request.response_format is not None else None
    if wanted is None or wanted.schema is None or not is_adaptive(request.model):
        return None
    if wanted.strict or (is_unforced(request.model) and _is_closed(wanted.schema)):
        return fitted(wanted.schema)
    return None


def _is_closed(schema: Any, deep: int = 0) -> bool:
    """Whether all objects of a schema say that they have no other members, without which it is refused."""
    if deep > DEPTH_MAX:
        return False
    if isinstance(schema, list):
        return all(_is_closed(each, deep + 1) for each in schema)
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    is_object = "properties" in schema or kind == "object" or (isinstance(kind, list) and "object" in kind)
    open_ = is_object and schema.get("additionalProperties") is not False
    return not open_ and all(_is_closed(each, deep + 1) for each in schema.values())


def put_limits(value: Json, request: ChatRequest, unsaid: Unsaid) -> None:
    """Put the limit of the answer, of which thinking is a part, and the thinking into a request."""
    limit = request.answer_tokens
    if limit is not None:
        value["max_tokens"] = limit
    effort = request.reasoning_effort
    adaptive = is_adaptive(request.model)
    if effort == "none" and adaptive:
        value |= _least(request.model)
    if effort is None or effort == "none":
        return
    if effort not in BUDGETS:
        raise no_effort(effort, ("none", *BUDGETS))
    if _may_think(request, limit, unsaid, adaptive=adaptive):
        _think(value, _known(effort, request.model), limit, adaptive=adaptive)
        for name in [each for each in ("temperature", "top_k") if each in value]:
            if (name, value[name]) != ("temperature", 1):
                unsaid.add(name, "it does not go with reasoning_effort")
                del value[name]


def _known(effort: str, model: str) -> str:
    """An effort by a name that a model knows."""
    family, version = _named(model)
    return "max" if effort == "xhigh" and family and version < _FIRST_XHIGH else effort


def _least(model: str) -> Json:
    """As little thinking as a model can do."""
    if _since(model, _FIRST_RESTLESS):
        return {"output_config": {"effort": "low"}}
    between = _since(model, _FIRST_BETWEEN_TOOLS)
    return {"thinking": {"type": "between_tools" if between else "disabled"}}


def _think(value: Json, effort: str, limit: int | None, *, adaptive: bool) -> None:
    if limit is None:
        value["max_tokens"] = ANSWER_TOKENS + BUDGETS[effort]
    if adaptive:
        value["thinking"] = {"type": "adaptive", "display": "summarized"}
        value["output_config"] = {"effort": EFFORTS[effort]}
        return
    # At least a quarter is left for the answer itself, where the limit allows for it.
    most = BUDGETS[effort] if limit is None else max(BUDGETS["minimal"], limit * 3 // 4)
    value["thinking"] = {"type": "enabled", "budget_tokens": min(BUDGETS[effort], most)}


def _may_think(request: ChatRequest, limit: int | None, unsaid: Unsaid, *, adaptive: bool) -> bool:
    forced = request.must_call or (request.schema is not None and native_schema(request) is None)
    if forced and not is_unforced(request.model):
        unsaid.add(
            "reasoning_effort", "it does not go with an answer by schema or a tool that must be called"
        )
        return False
    if not adaptive and limit is not None and limit <= BUDGETS["minimal"]:
        unsaid.add("reasoning_effort", f"it needs max_tokens of more than {BUDGETS['minimal']}")
        return False
    if _unsigned(request):
        # Most clients keep no thoughts; that is no reason to fail their next turn.
        unsaid.note("reasoning_effort")
        return False
    return True


def _unsigned(request: ChatRequest) -> bool:
    """Whether the conversation stands in the midst of calls that were made without thoughts to show; it does
    where the user says something with their results, too."""
    last = next((message for message in reversed(request.messages) if message.role == "assistant"), None)
    return last is not None and bool(last.tool_calls) and not last.thinking_blocks
