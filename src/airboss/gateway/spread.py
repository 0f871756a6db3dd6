"""Which of the models that share a deployment's calls gets one, and who is asked after it.

Drawn by weight, by a hash of what the call belongs to, so that every worker says the same and nothing is
kept: calls of one session go to one model, whose provider has their beginning in its cache. So do those with
one `prompt_cache_key`, and a conversation in a provider's own words (Messages, Responses), of which that may
have signed or sealed a part that no other takes. All others are drawn alone. The models stand in the order of
draws without putting back (Efraimidis and Spirakis 2006), those that are left alone just now at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.domain.errors import Unsupported
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.places import mark
from airboss.gateway.serving import Branch

if TYPE_CHECKING:
    from airboss.gateway.dispatch import Executor
    from airboss.gateway.spoken import Spoken

_CACHE_KEY: Final = b'"prompt_cache_key"'


class _Named(msgspec.Struct):
    prompt_cache_key: Any = None


class _Message(msgspec.Struct):
    role: Any = None
    content: Any = None


class _Talk(msgspec.Struct):
    messages: list[_Message] = []


_named = msgspec.json.Decoder(_Named)
_talk = msgspec.json.Decoder(_Talk)


def drawn(
    executor: Executor, branch: Branch, request: InferenceRequest, body: wire.Body, spoken: Spoken | None
) -> Branch:
    """The branch of the model that a call goes to, where its branch is a spread's. Raises Unsupported for
    vectors, where those of its models are different ones."""
    if not branch.members:
        return branch
    targets = [each.target for each in branch.members]
    if request.operation == "embeddings" and len({each.upstream_model for each in targets}) > 1:
        names = " and ".join(sorted({repr(each.upstream_model) for each in targets}))
        raise Unsupported(
            f"deployment {request.deployment!r} shares its calls between {names}, and vectors of two models "
            "do not mix; ask a deployment of one of them",
            code="embeddings_do_not_mix",
            param="model",
        )
    if isinstance(body, wire.RelayedBody) and not body.names_model:
        return _in_order(branch, branch.members)  # files and batches are where they were put
    unit = _unit(request, spoken)

    def place(at: int) -> tuple[bool, float]:
        target, share = targets[at], branch.target.shares[at]
        left_alone = not executor.free(target, trial=branch.trial)
        return left_alone, mark(f"{target.provider} {target.upstream_model} ", unit, share)

    return _in_order(branch, tuple(branch.members[at] for at in sorted(range(len(targets)), key=place)))


def after(branch: Branch) -> Branch:
    """The branch of the model that is asked next, where the one that was drawn cannot say a call."""
    first, *rest = branch.members
    return msgspec.structs.replace(first, members=tuple(rest), others=branch.others[1:])


def _in_order(spread: Branch, order: tuple[Branch, ...]) -> Branch:
    first, *rest = order
    fallbacks = spread.others[len(rest) :]
    others = (*(each.target for each in rest), *fallbacks)
    return msgspec.structs.replace(first, members=tuple(rest), others=others)


def _unit(request: InferenceRequest, spoken: Spoken | None) -> bytes:
    """What is drawn for as one: the calls that say the same here go to the same model."""
    if request.session:
        return f"session {request.session}".encode("utf-8", "surrogatepass")
    written = request.body if spoken is None else spoken.written
    if _CACHE_KEY in written:
        named = _read(_named, written)
        if named is not None and isinstance(named.prompt_cache_key, str):
            return f"cache {named.prompt_cache_key}".encode("utf-8", "surrogatepass")
    said = _beginning(request.body) if spoken is not None else ""
    if said:  # many may begin alike, an agent's for one: whose it is tells them apart
        return f"says {request.user} {said}".encode("utf-8", "surrogatepass")
    return f"call {request.id}".encode()


def _beginning(raw: bytes) -> str:
    """How a conversation begins: with the first that a user says."""
    talk = _read(_talk, raw)
    content = next((each.content for each in talk.messages if each.role == "user"), None) if talk else None
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(each for each in texts if isinstance(each, str))


def _read(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
