"""What shapes an answer, and nothing else: a `Release` is addressed by the digest of its content."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ProviderKind = Literal["openai", "openai-compatible", "anthropic", "gemini", "azure", "bedrock", "local"]
"""How a provider is spoken to. `local` is a replica that Airboss runs itself."""

Params = dict[str, Any]
"""Request parameters by their OpenAI name, for example `{"temperature": 0.2}`; JSON values only."""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The exact model that answers. `model` is the name upstream, or for `local` the weights' source
    (`file:…` and so on). The rest is set for `local` only; `adapter` is the source of a LoRA on top."""

    provider: str
    kind: ProviderKind
    model: str
    weights_sha256: str | None = None
    adapter: str | None = None
    adapter_sha256: str | None = None
    engine: str | None = None
    engine_version: str | None = None


PromptForm = Literal["system", "turns", "completion"]
"""Where examples go: into the system message, before the client's messages as turns, or, with the whole
conversation, into one raw prompt that the model completes (`releases.render`)."""


class Example(msgspec.Struct, frozen=True):
    """One few-shot example: what a user says and what the assistant should answer."""

    input: str
    output: str


PiiKind = Literal[
    "email", "phone", "card", "iban", "us_ssn", "ip", "secret", "person", "location", "organization"
]
"""What screening looks for: the last three are names, which no pattern finds."""

PiiAction = Literal["mask", "tokenize", "block", "observe"]
"""What is done about a value: `[EMAIL]` in its place; `<EMAIL_1>` in its place, the same for the same value;
the call is refused or its answer cut; it is only counted."""


class CustomKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of the operator's own: what `pattern` matches, or any of the `words`."""

    name: str
    action: PiiAction
    pattern: str | None = None
    words: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about personal data and secrets, by kind, and the version of what finds them."""

    pii: tuple[tuple[PiiKind, PiiAction], ...]
    detectors: str
    custom: tuple[CustomKind, ...] = ()


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable bundle of everything that shapes an answer.

    `digest` is the sha256, in hex, of the canonical form of the other fields but `name` (`releases.digest`):
    two releases that answer alike have one digest. `prompt` is a template (`releases.render`) that becomes
    the first system message. `params` fill what a request leaves open; `params_force` replace what it says.
    `policy` screens requests and answers. `fallbacks` are asked in their order where the model fails; with
    `fallbacks_when_filtered` also where its provider's filter refuses the call. `shares`, which sum to 1, are
    those of `model` and the first of these: each call is drawn for one."""

    digest: str
    name: str
    model: ModelVersion
    prompt: str | None = None
    examples: tuple[Example, ...] = ()
    form: PromptForm = "turns"
    params: Params = {}
    params_force: Params = {}
    policy: Policy | None = None
    fallbacks: tuple[ModelVersion, ...] = ()
    fallbacks_when_filtered: bool = False
    shares: tuple[float, ...] = ()
