"""OpenAI's `/embeddings` in the words of Gemini and of Bedrock's models, there and back. Pure.

Gemini makes many vectors at once, and so do Cohere's models on Bedrock; Amazon's Titan makes one a call.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from airboss.domain.errors import InvalidRequest, Unsupported, UpstreamFailed
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from airboss.providers import lenient
from airboss.providers.aws_sign import authorise_aws
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.chat_request import Json
from airboss.providers.cut import beginning
from airboss.providers.dialect import Outgoing, Reader, Unsaid, key_in
from airboss.providers.gemini_answer import GeminiReader
from airboss.providers.usage import Tokens

_PASSED_OVER = frozenset({"model", "input", "encoding_format", "user", "metadata"})
_ASKS_NOTHING = b"null"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Asked(msgspec.Struct, kw_only=True):
    """`POST /v1/embeddings`. `input_type` is Cohere's: what a text is, `search_query` say."""

    model: str
    input: str | list[Any]
    dimensions: int | None = None
    encoding_format: str | None = None
    input_type: str | None = None

    @property
    def texts(self) -> list[str]:
        """What is to be embedded. Raises InvalidRequest for tokens, which only their own model can read."""
        listed = [self.input] if isinstance(self.input, str) else self.input
        if not all(isinstance(each, str) for each in listed):
            raise InvalidRequest(
                "'input' has tokens, and the provider of this deployment takes texts; send a text or "
                "a list of texts",
                code="unsupported_by_provider",
                param="input",
            )
        return listed


_asked = msgspec.json.Decoder(Asked)


class _Values(msgspec.Struct):
    values: list[float]


class _Counted(msgspec.Struct, rename="camel"):
    prompt_token_count: Tokens | None = None


class _Geminis(msgspec.Struct, rename="camel"):
    embeddings: list[_Values] | None = None
    usage_metadata: _Counted | None = None


class _Bedrocks(msgspec.Struct, rename="camel"):
    """Titan's `embedding`, or Cohere's `embeddings`, by type or plain."""

    embedding: list[float] | None = None
    embeddings: dict[str, list[list[float]]] | list[list[float]] | None = None
    input_text_token_count: Tokens | None = None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, and how many tokens they took where that is told."""

    vectors: Sequence[Sequence[float]]
    tokens: int | None


def embeddings_for(body: bytes, target: Target) -> Outgoing:
    """What goes upstream. Raises InvalidRequest for what cannot be said, Unsupported where the model makes no
    vectors, and msgspec.ValidationError."""
    return _KINDS[target.kind](body, target)


def _gemini(body: bytes, target: Target) -> Outgoing:
    asked, dropped = _read(body, target, said=frozenset({"dimensions"}))
    more = {"outputDimensionality": asked.dimensions} if asked.dimensions is not None else {}
    name = f"models/{target.upstream_model}"
    wanted = [{"model": name, "content": {"parts": [{"text": text}]}, **more} for text in asked.texts]
    return Outgoing(
        path=f"/models/{quote(target.upstream_model, safe='')}:batchEmbedContents",
        body=msgspec.json.encode({"requests": wanted}),
        authorise=key_in("x-goog-api-key"),
        streams=False,
        reader=_reader(asked, target, _of_gemini, partial(GeminiReader, model=target.upstream_model)),
        dropped=dropped,
    )


def _bedrock(body: bytes, target: Target) -> Outgoing:
    model = target.upstream_model
    if "cohere.embed" in model:
        asked, dropped = _read(body, target, said=frozenset({"dimensions", "input_type"}))
        said: Json = {
            "texts": asked.texts,
            "input_type": asked.input_type or "search_document",
            "embedding_types": ["float"],
        }
        if asked.dimensions is not None:
            said["output_dimension"] = asked.dimensions
    elif "titan-embed" in model:
        asked, dropped = _read(body, target, said=frozenset({"dimensions"}))
        if len(asked.texts) != 1:
            raise InvalidRequest(
                f"'input' has {len(asked.texts)} texts, and Titan takes one a call; send them one by one",
                code="unsupported_by_provider",
                param="input",
            )
        said = {"inputText": asked.texts[0]}
        if asked.dimensions is not None:
            said["dimensions"] = asked.dimensions
    else:
        raise Unsupported(
            f"model {model[:100]!r} makes no embeddings that are known here; on Bedrock Titan's and Cohere's "
            "models do",
            code="embeddings_unsupported",
            param="model",
        )
    errors = partial(BedrockReader, id="", model=model, answer_tool=None)
    return Outgoing(
        path=f"/model/{quote(model, safe='')}/invoke",
        body=msgspec.json.encode(said),
        authorise=partial(authorise_aws, region=target.region or ""),
        streams=False,
        framing="aws",
        reader=_reader(asked, target, _of_bedrock, errors),
        dropped=dropped,
    )


_KINDS: Mapping[ProviderKind, Callable[[bytes, Target], Outgoing]] = {"gemini": _gemini, "bedrock": _bedrock}
KINDS = frozenset(_KINDS)
"""Providers that are asked in their own words."""


def _read(body: bytes, target: Target, *, said: frozenset[str]) -> tuple[Asked, tuple[str, ...]]:
    """The request, and what of it is left out; `said` is what there are words for besides texts."""
    unsaid = Unsaid(f"provider {target.provider!r}", drop=target.drop_unsupported)
    for name, value in _members.decode(body).items():
        if name not in said | _PASSED_OVER and bytes(value) != _ASKS_NOTHING:
            unsaid.add(name)
    asked = _asked.decode(body)
    if asked.encoding_format not in {None, "float", "base64"}:
        raise InvalidRequest(
            f"'encoding_format' is {asked.encoding_format[:40]!r}; it is 'float' or 'base64'",
            param="encoding_format",
        )
    return asked, tuple(unsaid.dropped)


def _of_gemini(body: bytes) -> Made | None:
    said = lenient.decoded(msgspec.json.Decoder(_Geminis), body)
    if said.embeddings is None:
        return None
    tokens = said.usage_metadata.prompt_token_count if said.usage_metadata is not None else None
    return Made(vectors=[each.values for each in said.embeddings], tokens=tokens)


def _of_bedrock(body: bytes) -> Made | None:
    said = lenient.decoded(msgspec.json.Decoder(_Bedrocks), body)
    vectors = said.embeddings.get("float") if isinstance(said.embeddings, dict) else said.embeddings
    if said.embedding is not None:
        vectors = [said.embedding]
    return Made(vectors=vectors, tokens=said.input_text_token_count) if vectors is not None else None


def _reader(
    asked: Asked, target: Target, read: Callable[[bytes], Made | None], errors: Callable[[int], Reader]
) -> Callable[[int], Reader]:
    return lambda created: EmbeddingsReader(
        read,
        errors(created),
        model=target.upstream_model,
        texts=len(asked.texts),
        packed=asked.encoding_format == "base64",
    )


class EmbeddingsReader:
    """Reads one answer of so many `texts`, `packed` as base64 where OpenAI's clients ask for that; `errors`
    reads the provider's errors."""

    def __init__(
        self, read: Callable[[bytes], Made | None], errors: Reader, *, model: str, texts: int, packed: bool
    ) -> None:
        self._read, self._errors = read, errors
        self._model, self._texts, self._packed = model, texts, packed

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        try:
            made = self._read(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            shown = beginning(body, 80)
            raise UpstreamFailed(f"the upstream's answer has no vectors; it begins {shown!r}") from None
        if made is None:
            return self._errors.error(200, body)
        if len(made.vectors) != self._texts:
            raise UpstreamFailed(f"the upstream made {len(made.vectors)} vectors of {self._texts} texts")
        said: Json = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": at, "embedding": packed(each) if self._packed else each}
                for at, each in enumerate(made.vectors)
            ],
            "model": self._model,
        }
        if made.tokens is not None:
            said["usage"] = {"prompt_tokens": made.tokens, "total_tokens": made.tokens}
        return msgspec.json.encode(said)

    def event(self, data: bytes) -> list[bytes]:  # noqa: ARG002 - nothing is streamed
        """Nothing."""
        return []

    def end(self) -> list[bytes]:
        """Nothing."""
        return []

    def told(self) -> dict[str, Any] | None:
        """As the answer tells it."""
        return None

    def error(self, status: int, body: bytes) -> bytes:
        """An error."""
        return self._errors.error(status, body)


def packed(vector: Sequence[float]) -> str:
    """As OpenAI packs it: numbers of four bytes, the least first, in base64."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
