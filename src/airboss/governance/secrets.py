"""Where the secrets of a plan are, and what they are. Reading is done by what the caller hands in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from airboss.domain.errors import AirbossError, Unavailable
from airboss.domain.plan import ServingPlan, Target
from airboss.governance.keys import KEY_PREFIX

ReadSecret = Callable[[Path], str]
"""Reads a secret from a file; raises AirbossError with what to do if it cannot."""


def provider_key(target: Target, *, env: Mapping[str, str], read: ReadSecret) -> str | None:
    """The key to send to a target's provider, or None if it wants none.

    Raises Unavailable, to be answered to the caller, if the key cannot be had: the environment lacks the
    variable, the file cannot be read, or what is there for OpenAI is one of our own keys, which begin with
    `ab_` and must never be sent to a provider.
    """
    if target.api_key_ref is None:
        return None
    key, where = found_secret(target.api_key_ref, target.provider, env=env, read=read)
    if target.kind == "openai" and key.startswith(KEY_PREFIX):
        raise Unavailable(
            f"{where} should hold the key of provider '{target.provider}', but holds one of Airboss itself, "
            "which is never sent to a provider; put the provider's own key there and start Airboss again",
            code="provider_key_missing",
        )
    return key


def provider_secrets(plan: ServingPlan, *, env: Mapping[str, str], read: ReadSecret) -> tuple[str, ...]:
    """Every provider key of a plan that can be had now, each once: what redaction must know.

    One that cannot be had is left out: the call that needs it says why.
    """
    found: dict[str, None] = {}
    for target in plan.targets():
        for ref in target.refs():
            try:
                key, _ = found_secret(ref, target.provider, env=env, read=read)
            except Unavailable:
                continue
            found[key] = None
    return tuple(found)


def missing_keys(target: Target, *, env: Mapping[str, str], read: ReadSecret) -> tuple[str, ...]:
    """Of each key that the target needs and that cannot be had now: why, in a sentence without its end."""
    missing = []
    for ref in dict.fromkeys(target.refs()):
        try:
            found_secret(ref, target.provider, env=env, read=read)
        except Unavailable as error:
            missing.append(str(error))
    return tuple(missing)


def found_secret(ref: str, provider: str, *, env: Mapping[str, str], read: ReadSecret) -> tuple[str, str]:
    """The secret, and where it was found."""
    scheme, _, name = ref.partition(":")
    if scheme == "env":
        key = env.get(name, "").strip()
        if key:
            return _sendable(key, name, provider), name
        raise Unavailable(
            f"the key of provider '{provider}' comes from the environment variable {name}, which is not set "
            "where Airboss was started; set it and start Airboss again",
            code="provider_key_missing",
        )
    try:
        key = read(Path(name))
    except AirbossError as error:
        raise Unavailable(
            f"the key of provider '{provider}' cannot be read: {error}", code="provider_key_missing"
        ) from error
    return _sendable(key, name, provider), name


def _sendable(key: str, where: str, provider: str) -> str:
    """The key, if a header can hold it: what comes along as one copies it would end that header, and begin
    another."""
    if key.isascii() and key.isprintable():
        return key
    raise Unavailable(
        f"the key of provider '{provider}' in {where} has characters that no key has, such as a line end "
        "or the dots of a text; write it there anew and start Airboss again",
        code="provider_key_missing",
    )
