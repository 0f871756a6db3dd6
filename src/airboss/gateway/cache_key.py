"""What makes two requests one, and which answers may be given again. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.dialects.messages_passing import PassingReader
from airboss.domain.plan import Target
from airboss.domain.record import ClosedCall
from airboss.domain.release import Policy
from airboss.domain.request import InferenceRequest
from airboss.gateway.alike import comparable
from airboss.gateway.replay import is_usual
from airboss.releases.sharing import sharing

if TYPE_CHECKING:
    from airboss.gateway.worker import Admitted

SHAPES_NOTHING: Final = frozenset(
    {
        "model",
        "user",
        "metadata",
        "stream",
        "stream_options",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Members of a request that say who asks, or how it is sent, and not what. The model is the release's."""
KEPT: Final = frozenset({"chat", "text_completion", "embeddings"})
"""What answers are kept of."""
TELLS_THE_TIME: Final = frozenset(
    {
        *("web_search_options", "search_parameters", "enable_search", "web_search", "plugins"),
        *("audio", "modalities"),
    }
)
"""Members with which an answer is good for a moment only: sound, and a search of the web as OpenAI, xAI, Qwen
and OpenRouter name it."""
CALLERS_TOOLS: Final = ("function", "custom")
"""Tools of any other type run at the provider, who looks something up or runs a program."""
KEPT_AS: Final = "3"
"""Part of every key: answers that an earlier version kept in another form are not found."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Question(msgspec.Struct, frozen=True):
    """The last thing that a user says in a call, and all else that shapes its answer: two with the same
    `scope` differ in nothing but their `text`."""

    scope: bytes
    text: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How a request wants to be answered: `look`: from the cache if that has it, `keep`: its answer may be
    given to others."""

    look: bool
    keep: bool


def asked(request: InferenceRequest, cache_control: bytes | None) -> Asked:
    """What a request says by `cache-control`, if a cache is for it: our own calls want fresh answers."""
    if request.principal.internal:
        return Asked(look=False, keep=False)
    said = {word.strip().split(b"=")[0].lower() for word in (cache_control or b"").split(b",")}
    if b"no-store" in said:
        return Asked(look=False, keep=False)
    return Asked(look=b"no-cache" not in said, keep=True)


def said_in(call: Admitted) -> dict[str, Any] | None:
    """What a call's request says that shapes its answer. None for one whose answer is good for it alone."""
    if call.request.operation not in KEPT:
        return None
    if call.outgoing is not None and call.outgoing.reader is PassingReader:
        return None  # what the provider is asked, and what it says, is more than the chat that is read of it
    if call.spoken is not None and (call.spoken.speech.unsaid or call.spoken.speech.beyond):
        return None
    try:
        body: dict[str, Any] = msgspec.json.decode(call.request.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if _tells_the_time(call, body) or body.get("store") is True:
        return None
    return {name: value for name, value in body.items() if name not in SHAPES_NOTHING and value is not None}


def _tells_the_time(call: Admitted, body: dict[str, Any]) -> bool:
    """Whether an answer is good for a moment only, by what the request or the release asks for."""
    release = call.branch.release
    asked = {**release.params, **body, **release.params_force}
    for name in TELLS_THE_TIME & asked.keys():
        if asked[name] is not None and asked[name] is not False:
            return True
    tools = asked.get("tools")
    return isinstance(tools, list) and any(
        isinstance(tool, dict) and tool.get("type") not in CALLERS_TOOLS for tool in tools
    )


def key_of(call: Admitted, said: dict[str, Any]) -> bytes:
    """What a call asks for, and of whom: calls that have this alike may have one answer."""
    branch = call.branch
    return hashlib.sha256(_encode(_parts(call, said, branch.release.digest, branch.entire))).digest()


def twin_of(call: Admitted, said: dict[str, Any]) -> bytes | None:
    """The key that a call would have on the other arm of the rollout that runs; None where none does."""
    deployment = call.deployment
    if deployment.canary is None:
        return None
    served = deployment.canary.served
    arms = {deployment.stable.digest: deployment.target, served.release.digest: served.target}
    arms.pop(call.branch.release.digest, None)
    if len(arms) != 1:
        return None
    ((release, target),) = arms.items()
    return hashlib.sha256(_encode(_parts(call, said, release, target))).digest()


def question_of(call: Admitted, said: dict[str, Any], target: Target) -> Question | None:
    """What a call asks, to be compared by its meaning at `target`, with what the same key and the same person
    asked. None for one that is not compared."""
    messages = said.get("messages")
    if call.request.operation != "chat" or not messages:
        return None
    last = messages[-1]
    text = _text(last.get("content"))
    if last.get("role") != "user" or text is None or not comparable(text):
        return None
    rest = {**said, "messages": [*messages[:-1], {**last, "content": None}]}
    by = [target.provider, target.upstream_model, target.engine, _place(target)]
    branch = call.branch
    parts = [*_parts(call, rest, branch.release.digest, branch.entire), call.request.user, by]
    return Question(hashlib.sha256(_encode(parts)).digest(), text)


def _text(content: Any) -> str | None:
    """The text of a message that is one text and nothing else."""
    if isinstance(content, list) and len(content) == 1 and content[0].keys() == {"type", "text"}:
        content = content[0]["text"]
    return content if isinstance(content, str) else None


def _parts(call: Admitted, said: dict[str, Any], release: str, target: Target) -> list[Any]:
    policy, of_key = call.deployment.policy, call.request.principal.policies
    parts = [
        KEPT_AS,
        call.deployment.name,
        call.request.principal.owner or call.request.principal.key,
        release,
        _place(target),
        None if policy is None else _screens(policy),
        call.request.operation,
        _canonical(said),
    ]
    return parts if of_key is None else [*parts, list(map(_screens, of_key))]


def _screens(policy: Policy) -> list[Any]:
    return [policy.detectors, policy.pii, *policy.custom]


def _place(target: Target) -> list[Any] | None:
    """Where a provider is, of which its release says nothing: another server behind the same names may answer
    otherwise. What answers here is named by its release, wherever its engines listen."""
    if target.kind == "local":
        return None
    if target.shares:
        return [_place(msgspec.structs.replace(each, shares=())) for each in sharing(target)]
    where = [target.kind, target.upstream_model, sorted(target.base_urls), target.api_version, target.region]
    return [*where, target.headers] if target.headers else where


def _canonical(value: Any) -> Any:
    """The value with whole numbers written in one way: 1.0 asks for what 1 does. And with the properties of a
    schema in their order, which no other members have: models write theirs in it, the reason before the
    verdict or after."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        changed = {name: _canonical(each) for name, each in value.items()}
        if isinstance(properties := changed.get("properties"), dict):
            changed["properties"] = list(properties.items())
        return changed
    return [_canonical(each) for each in value] if isinstance(value, list) else value


def may_be_kept(call: Admitted, closed: ClosedCall, whole: bytes) -> bool:
    """Whether an answer may be given again: it is whole, the release's own model gave it, it says something,
    and it asks nobody to do anything (a tool's call is for now)."""
    if closed.status != "ok" or not closed.attempts:
        return False
    last, target = closed.attempts[-1], call.branch.entire
    own = [(each.provider, each.upstream_model) for each in sharing(target)]
    if (last.provider, last.model) not in own:
        return False
    try:
        answer = msgspec.json.decode(whole)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):  # such as a number that nobody can hold
        return False
    if call.request.operation == "embeddings":
        return bool(answer.get("data"))
    choices = answer["choices"] if is_usual(whole) else []
    return bool(choices) and all(map(_says_all, choices))


def _says_all(choice: dict[str, Any]) -> bool:
    said = choice.get("message") or {}
    if choice.get("finish_reason") != "stop" or said.get("tool_calls") or said.get("function_call"):
        return False
    told = choice.get("text") or said.get("content")
    return bool(told.strip() if isinstance(told, str) else told)
