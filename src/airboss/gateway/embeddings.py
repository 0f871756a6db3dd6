"""`/v1/embeddings`: passed on to providers that speak OpenAI's dialect, with another model's name, and said
to others that make vectors in their own words."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.dialects.heard import OURS
from airboss.domain.errors import Unsupported
from airboss.domain.plan import Target
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.splice import join_members, members, replace_model
from airboss.gateway.sse import unmarked
from airboss.gateway.wire import EmbeddingsBody
from airboss.providers.compatible import Reply, error_in, read_reply
from airboss.providers.cut import cut
from airboss.providers.dialect import Outgoing
from airboss.providers.dialects import azure
from airboss.providers.embeddings_foreign import KINDS as FOREIGN
from airboss.providers.embeddings_foreign import embeddings_for

KINDS = frozenset({"openai", "openai-compatible", "azure"})
"""Providers that are asked."""
RECORDED_BYTES_MAX = 64 * 1024
"""Of a larger answer the record has everything but the vectors."""

_encode = msgspec.json.Encoder().encode


class _Data(msgspec.Struct):
    data: list[msgspec.Raw] | None = None


class _Listed(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]


class EmbeddingsAnswer(WholeAnswer):
    """Takes vectors in: OpenAI's `{"object": "list", "data": […]}`."""

    def _end(self) -> None:
        content = unmarked(self._pieces)
        if self.status != 200:
            raise self._refusal(content)
        reply = read_reply(content)
        try:
            listed = msgspec.json.decode(content, type=_Data).data
        except msgspec.ValidationError:
            listed = None
        if listed is None:
            raise error_in(self.provider, content)
        self._take_in(content, reply)

    def _take_in(self, content: bytes, reply: Reply) -> None:
        if reply.usage is not None and reply.usage.completion_tokens is None:
            reply.usage.completion_tokens = 0  # nothing is written, and OpenAI does not say so
        super()._take_in(content, reply)

    @property
    def recorded(self) -> bytes:
        """What the record has of it."""
        if len(self.content) <= RECORDED_BYTES_MAX:
            return self.content
        return without_vectors(self.content)


def without_vectors(content: bytes) -> bytes:
    """The answer with null for each vector."""
    try:
        listed = msgspec.json.decode(content, type=_Listed).data
    except msgspec.DecodeError:
        return b"null"
    values = members(content)
    kept: list[dict[str, Any]] = [{**each, "embedding": None} for each in listed]
    return join_members({**values, "data": _encode(kept)})


def embeddings_body(raw: bytes, body: EmbeddingsBody, target: Target) -> tuple[bytes, Outgoing | None]:
    """What goes upstream. Raises Unsupported where nobody there makes embeddings.

    A release's prompt and parameters are for answers in words; they change nothing here.
    """
    if target.kind not in KINDS | FOREIGN and not target.embeds:
        raise Unsupported(
            f"deployment {cut(body.model, 100)!r} makes no embeddings: its provider {target.provider!r} is "
            f"of kind {target.kind!r}; ask one whose provider speaks OpenAI's dialect and has them, one of "
            "Gemini's or Bedrock's embedding models, or a local one",
            code="embeddings_unsupported",
            param="model",
        )
    if body.prompt_variables is not None or body.release_variant is not None:
        raw = join_members({name: value for name, value in members(raw).items() if name not in OURS})
    changed = replace_model(raw, _encode(target.upstream_model))
    if target.kind in FOREIGN:
        said = embeddings_for(changed, target)
        return said.body, said
    return changed, azure(changed, target, "embeddings") if target.kind == "azure" else None
