"""The dialects, by kind of provider: what becomes of a request in OpenAI's, and where it goes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote

import msgspec

from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from airboss.domain.request import Operation
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.anthropic_request import messages_request
from airboss.providers.aws_sign import authorise_aws
from airboss.providers.bedrock_answer import BedrockReader
from airboss.providers.bedrock_request import converse_request
from airboss.providers.compatible import PATHS
from airboss.providers.dialect import Authorise, Outgoing, Reader, Unsaid, bearer, key_in
from airboss.providers.gemini_answer import GeminiReader
from airboss.providers.gemini_request import generate_request
from airboss.providers.text_over_chat import TextReader, as_chat

ANTHROPIC_VERSION = "2023-06-01"
AZURE_VERSION = "2024-10-21"
"""The `api-version` where the provider says none: the latest that is not a preview."""
RESPONSES = "/responses"

OPENAI_KINDS: tuple[ProviderKind, ...] = ("openai", "azure", "openai-compatible")
"""Providers that speak OpenAI's dialect, those first that have the most of its routes."""
NAMES: Mapping[ProviderKind, str] = {
    "anthropic": "Anthropic's models",
    "gemini": "Gemini's models",
    "bedrock": "models of Bedrock",
}
"""The kinds that a request is translated for, as errors call them."""


class _Said(msgspec.Struct):
    """What a request says about the form of its answer."""

    model: str
    stream: bool | None = None


_said = msgspec.json.Decoder(_Said)


def openai_place(target: Target, operation: Operation) -> tuple[str, Authorise]:
    """The path and the kind of key of a route of OpenAI's, which Azure has elsewhere."""
    if target.kind != "azure":
        return PATHS[operation], bearer
    return azure_path(target, PATHS[operation], of_model=True), key_in("api-key")


def azure_path(target: Target, path: str, *, of_model: bool) -> str:
    """Where Azure has a route of OpenAI's. By a dated version it is under the deployment, if it is
    `of_model`; by a named one (`v1`, `preview`) under its v1, where the body names the deployment."""
    version = target.api_version or AZURE_VERSION
    deployment = f"/deployments/{quote(target.upstream_model, safe='')}" if of_model else ""
    place = deployment if is_dated(version) else "/v1"
    return f"/openai{place}{path}?api-version={quote(version, safe='')}"


def is_dated(version: str) -> bool:
    """Whether an `api-version` of Azure's is a date, and not a name."""
    return version[:4].isdigit()


def responses_place(target: Target) -> tuple[str, Authorise]:
    """As `openai_place`, of `/responses`. Azure has it under its v1 only, where the body names the deployment
    and a version is a name (`preview`): the dated ones of its older routes are refused there."""
    if target.kind != "azure":
        return RESPONSES, bearer
    version = target.api_version or ""
    query = "" if is_dated(version) else f"?api-version={quote(version, safe='')}"
    return f"/openai/v1{RESPONSES}{query if version else ''}", key_in("api-key")


def azure(body: bytes, target: Target, operation: Operation) -> Outgoing:
    """OpenAI's bytes, under the deployment's own URL."""
    path, authorise = openai_place(target, operation)
    return Outgoing(path=path, body=body, authorise=authorise, streams=bool(_said.decode(body).stream))


def foreign(body: bytes, target: Target, operation: Operation) -> Outgoing:
    """A request, OpenAI's as it would go upstream, in the dialect of `target`, which is one of NAMES. Raises
    InvalidRequest for what that cannot say, and msgspec.ValidationError for a member of another shape."""
    unsaid = Unsaid(NAMES[target.kind], drop=target.drop_unsupported)
    if operation == "text_completion":
        body = as_chat(body, unsaid)
    outgoing = _TRANSLATE[target.kind](body, target, unsaid)
    if operation == "text_completion" and outgoing.reader is not None:
        inner = outgoing.reader
        outgoing = msgspec.structs.replace(outgoing, reader=lambda created: TextReader(inner(created)))
    return msgspec.structs.replace(outgoing, dropped=tuple(unsaid.dropped))


def _anthropic(body: bytes, target: Target, unsaid: Unsaid) -> Outgoing:  # noqa: ARG001 - as the others
    said = messages_request(body, unsaid)
    return Outgoing(
        path="/messages",
        body=said.body,
        authorise=key_in("x-api-key"),
        headers=(("anthropic-version", ANTHROPIC_VERSION),),
        streams=bool(_said.decode(body).stream),
        reader=partial(AnthropicReader, answer_tool=said.answer_tool),
    )


def _gemini(body: bytes, target: Target, unsaid: Unsaid) -> Outgoing:
    streams = bool(_said.decode(body).stream)
    said = generate_request(body, unsaid)
    method = "streamGenerateContent?alt=sse" if streams else "generateContent"
    return Outgoing(
        path=f"/models/{quote(target.upstream_model, safe='')}:{method}",
        body=said.body,
        authorise=key_in("x-goog-api-key"),
        streams=streams,
        reader=partial(
            GeminiReader, model=target.upstream_model, asked=said.body, answer_tool=said.answer_tool
        ),
    )


def _bedrock(body: bytes, target: Target, unsaid: Unsaid) -> Outgoing:
    streams = bool(_said.decode(body).stream)
    said = converse_request(body, unsaid)
    name = hashlib.blake2b(said.body, digest_size=8)

    def reader(created: int) -> Reader:
        # Converse gives its answers no name; clients tell streams apart by theirs.
        id_ = f"chatcmpl-{created}-{name.hexdigest()}"
        return BedrockReader(created, id=id_, model=target.upstream_model, answer_tool=said.answer_tool)

    return Outgoing(
        path=f"/model/{quote(target.upstream_model, safe='')}/{'converse-stream' if streams else 'converse'}",
        body=said.body,
        authorise=partial(authorise_aws, region=target.region or ""),
        streams=streams,
        framing="aws",
        reader=reader,
    )


_TRANSLATE: Mapping[ProviderKind, Callable[[bytes, Target, Unsaid], Outgoing]] = {
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
}
