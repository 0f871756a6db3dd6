"""What `airboss doctor` looks at of hosted providers: whether their keys are there and, if it may ask them,
whether they take them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.cli.checks import Check, fail, ok, warn
from airboss.config.rules import is_reference
from airboss.domain.errors import AirbossError

if TYPE_CHECKING:
    import httpx2

    from airboss.config import Config, ProviderConfig

NAME: Final = "provider key"
ONLINE: Final = "provider"
CONNECT_S: Final = 5.0
READ_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
PLACES_MAX: Final = 32
WORDS_MAX: Final = 200


class Place(msgspec.Struct, frozen=True):
    """Where a provider is asked, and with which key: `env:NAME`, `file:PATH` or a literal."""

    provider: str
    base_url: str
    key_ref: str | None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def keys_there(config: Config, env: Mapping[str, str]) -> Iterator[Check]:
    """Whether each key that the configuration names is there. Asks nobody."""
    seen: set[tuple[str, str]] = set()
    for name, provider in config.providers.items():
        along = [Place(name, "", ref) for ref in provider.headers.values() if is_reference(ref)]
        for place in (*places(name, provider), *along):
            if place.key_ref is not None and (name, place.key_ref) not in seen:
                seen.add((name, place.key_ref))
                yield _key_there(place, provider, env)


def answers(config: Config, env: Mapping[str, str]) -> Iterator[Check]:
    """Whether each provider answers and takes its key, by its list of models, which costs nothing. Of one
    whose key is not there, or is one of Airboss, nothing is asked."""
    for name, provider in config.providers.items():
        wanted = {each.model for each in config.models.values() if each.provider == name}
        for place in places(name, provider)[:PLACES_MAX]:
            try:
                key = _key(place, env)
                along = {
                    header: _key(Place(name, place.base_url, value), env) or ""
                    for header, value in provider.headers.items()
                }
            except AirbossError:
                continue
            if _holds_ours(provider, key):
                continue
            if provider.kind == "bedrock":
                yield ok(ONLINE, f"{name}: not asked; Bedrock lists its models elsewhere")
            else:
                yield _answer(place, provider, key, wanted, along)


def places(name: str, provider: ProviderConfig) -> list[Place]:
    """Every address and key of a hosted provider; none of a local one."""
    from airboss.releases.build import BASE_URLS  # noqa: PLC0415 - only where there are providers

    if provider.kind == "local":
        return []
    usual = provider.base_url or BASE_URLS.get(provider.kind, "")
    if not provider.targets:
        return [Place(name, usual.rstrip("/"), provider.api_key)]
    return [
        Place(name, (each.base_url or usual).rstrip("/"), each.api_key or provider.api_key)
        for each in provider.targets
    ]


def _key_there(place: Place, provider: ProviderConfig, env: Mapping[str, str]) -> Check:
    scheme, _, where = (place.key_ref or "").partition(":")
    try:
        key = _key(place, env) or ""
    except AirbossError as error:
        if scheme == "env":
            advice = f"set {where} where `airboss up` runs; this is what this shell has"
            return warn(NAME, f"{place.provider}: {where} is not set here", advice)
        return fail(NAME, f"{place.provider}: {error}", "calls to it get 503 until it is there")
    if _holds_ours(provider, key):
        advice = "put the provider's own key there: Airboss sends its own to nobody"
        return fail(NAME, f"{place.provider}: {where} holds a key of Airboss", advice)
    if scheme == "file" and Path(where).stat().st_mode & 0o077:
        return warn(NAME, f"{place.provider}: {where} can be read by others", f"chmod 600 {where}")
    named = where if scheme in {"env", "file"} else "it stands in the configuration"
    return ok(NAME, f"{place.provider}: {named}, {len(key)} characters")


def _holds_ours(provider: ProviderConfig, key: str | None) -> bool:
    """Whether it is a key of Airboss where none can be: `openai-compatible` may be another Airboss."""
    return provider.kind != "openai-compatible" and (key or "").startswith("ab_")


def _key(place: Place, env: Mapping[str, str]) -> str | None:
    """The key as the gateway finds it. Raises AirbossError where it is not there."""
    from airboss.governance.secrets import found_secret  # noqa: PLC0415 - only where there are keys
    from airboss.store.datadir import read_secret  # noqa: PLC0415 - as above

    if place.key_ref is None or place.key_ref.partition(":")[0] not in {"env", "file"}:
        return place.key_ref
    return found_secret(place.key_ref, place.provider, env=env, read=read_secret)[0]


def _answer(
    place: Place, provider: ProviderConfig, key: str | None, wanted: set[str], along: Mapping[str, str]
) -> Check:
    import ssl  # noqa: PLC0415 - 70 ms with the next that only this costs

    import httpx2  # noqa: PLC0415 - as above

    url, headers = _list_of_models(place, provider, key)
    where = f"{place.provider} at {place.base_url}"
    began = time.perf_counter()
    try:
        with (
            httpx2.Client(
                trust_env=False,
                follow_redirects=False,
                verify=ssl.create_default_context(),
                timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
            ) as client,
            client.stream("GET", url, headers={**headers, **along}) as response,
        ):
            body = _bounded(response)
            status = response.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        said = _without(str(error) or type(error).__name__, key)
        return fail(
            ONLINE, f"{where}: cannot be reached: {said}", "check base_url, the network and the certificate"
        )
    took = 1000 * (time.perf_counter() - began)
    words = _without(_words(body, key), key)
    if status in {401, 403}:
        return fail(ONLINE, f"{where}: refuses its key ({status}): {words}", "put a key there that it takes")
    if status == 404:
        advice = "check base_url, which mostly ends in /v1; a server without such a list can be well, too"
        return warn(ONLINE, f"{where}: has no list of models (404), so that its key was not tried", advice)
    if status != 200:
        return warn(ONLINE, f"{where}: answers {status}: {words}", "see the provider's own status page")
    if lacks := _lacks(body, provider, wanted):
        advice = "check the names; a model may be there and not be listed"
        return warn(ONLINE, f"{where}: does not list {', '.join(lacks)}", advice)
    return ok(ONLINE, f"{where}: answers in {took:.0f} ms" + (", and takes its key" if key else ""))


def _list_of_models(place: Place, provider: ProviderConfig, key: str | None) -> tuple[str, dict[str, str]]:
    """Where the list is, and the headers that ask for it: as each provider documents it."""
    from airboss.providers.dialects import (  # noqa: PLC0415 - only here
        ANTHROPIC_VERSION,
        AZURE_VERSION,
        is_dated,
    )

    match provider.kind:
        case "anthropic":
            named = {"x-api-key": key} if key else {}
            return f"{place.base_url}/models?limit=1", named | {"anthropic-version": ANTHROPIC_VERSION}
        case "gemini":
            return f"{place.base_url}/models?pageSize=1", {"x-goog-api-key": key} if key else {}
        case "azure":
            version = provider.api_version or AZURE_VERSION
            under = "/openai" if is_dated(version) else "/openai/v1"
            url = f"{place.base_url}{under}/models?api-version={version}"
            return url, {"api-key": key} if key else {}
    return f"{place.base_url}/models", {"authorization": f"Bearer {key}"} if key else {}


def _bounded(response: httpx2.Response) -> bytes:
    """The body. Raises ValueError for one that is far too long."""
    pieces, size = [], 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise ValueError(f"its answer is over {ANSWER_BYTES_MAX // 1024**2} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def _lacks(body: bytes, provider: ProviderConfig, wanted: set[str]) -> list[str]:
    """The configured models that a whole list does not name; none of a list in pages or another shape."""
    if provider.kind not in {"openai", "openai-compatible"}:
        return []
    try:
        listed = {each.id for each in msgspec.json.decode(body, type=_Models).data}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    return sorted(wanted - listed)


def _words(body: bytes, key: str | None) -> str:
    """What an error says, in one line; the key is taken out before that is cut, which may be within it."""
    body = body.replace(key.encode(), "…".encode()) if key else body
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return " ".join(body[:WORDS_MAX].decode(errors="replace").split()) or "without a word"
    error = said.get("error", said) if isinstance(said, dict) else said
    text = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(text)[:WORDS_MAX].split())


def _without(text: str, key: str | None) -> str:
    """The text without the key, which some providers repeat."""
    return text.replace(key, "…") if key else text
