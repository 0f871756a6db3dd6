"""Asks providers of OpenAI's dialect for the list of their models."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from airboss.config import ProviderConfig
from airboss.config.found import ASKED_MAX
from airboss.config.listed import LISTED_MAX
from airboss.config.rules import is_reference
from airboss.domain.errors import AirbossError
from airboss.governance.keys import KEY_PREFIX
from airboss.releases.build import BASE_URLS

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S: Final = 8.0
"""Of one provider, all in all; a page waits for it."""
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
AT_ONCE: Final = ASKED_MAX

FindKey = Callable[[str, str], str]
"""The secret behind a reference, of that provider. Raises AirbossError."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]
    has_more: bool | None = None


class ModelLists:
    """`config.found.Ask`. Where a provider has several targets the first is asked, which serve the same."""

    def __init__(self, find_key: FindKey) -> None:
        self._find_key = find_key

    def __call__(self, wanted: Mapping[str, ProviderConfig]) -> dict[str, tuple[str, ...] | str]:
        """What each lists, or why that cannot be said; no word of an answer is repeated."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return dict(zip(wanted, threads.map(self._one, wanted, wanted.values()), strict=True))

    def _one(self, name: str, provider: ProviderConfig) -> tuple[str, ...] | str:
        import httpx2  # noqa: PLC0415 - 60 ms, where somebody is asked

        first = provider.targets[0] if provider.targets else None
        url = (first and first.base_url) or provider.base_url or BASE_URLS.get(provider.kind, "")
        key = (first and first.api_key) or provider.api_key
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        if host is None:
            return f"provider {name!r} has no address that can be asked"
        try:
            secret = self._find_key(key, name) if key is not None and is_reference(key) else key
            if provider.kind == "openai" and (secret or "").startswith(KEY_PREFIX):
                return f"provider {name!r} was not asked: its key is one of Airboss itself"
            headers = {"authorization": f"Bearer {secret}"} if secret else {}
            for header, value in provider.headers.items():
                headers[header] = self._find_key(value, name) if is_reference(value) else value
            status, body = _get(f"{url.rstrip('/')}/models", headers)
        except AirbossError as error:
            return f"provider {name!r} was not asked: {error}"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return f"{host} cannot be asked what it has: {type(error).__name__}"
        if status != 200:
            return f"{host} answers {status} where it is asked what it has{_meaning(status)}"
        return _names(body, host)


def _meaning(status: int) -> str:
    if status in {401, 403}:
        return ", and refuses the key"
    return "; it has no list, or base_url is not what comes before /models" if status == 404 else ""


def _get(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The status and the body. Raises ValueError for one that is too long or takes too long."""
    import httpx2  # noqa: PLC0415 - as above

    until = time.monotonic() + TIMEOUT_S
    with (
        httpx2.Client(
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context(),
            timeout=httpx2.Timeout(TIMEOUT_S / 2),
        ) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        return response.status_code, _bounded(response, until)


def _bounded(response: httpx2.Response, until: float) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise TooLong
        if time.monotonic() > until:
            raise TooSlow
        pieces.append(piece)
    return b"".join(pieces)


class TooLong(ValueError):
    """An answer over ANSWER_BYTES_MAX."""


class TooSlow(ValueError):
    """An answer that took longer than TIMEOUT_S."""


def _names(body: bytes, host: str) -> tuple[str, ...] | str:
    try:
        found = msgspec.json.decode(body, type=_Models)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"{host} answers with no list of models as OpenAI's is"
    if found.has_more:
        return f"{host} lists its models in pages, which are not turned"
    names = tuple(sorted({each.id for each in found.data}))
    if not names:
        return f"{host} lists no model"
    if len(names) > LISTED_MAX:
        return f"{host} lists {len(names)} models, of at most {LISTED_MAX}"
    return names
