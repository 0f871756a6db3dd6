"""Providers asked what they have: real servers, good and bad."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airboss.config import ProviderConfig
from airboss.config.types import TargetConfig
from airboss.controller import models_http
from airboss.controller.models_http import ModelLists
from airboss.domain.errors import SetupError
from tests.support.lister import listing


def found_key(ref: str, provider: str) -> str:
    """The secret of the tests."""
    if ref == "env:GONE":
        raise SetupError(f"the key of {provider} is not set")
    return {"env:OURS": "ab_12345678"}.get(ref, "sk-1")


def asked(url: str, key: str | None = "env:K", **more: Any) -> tuple[str, ...] | str:
    """What one such provider lists."""
    given: dict[str, Any] = {"kind": "openai-compatible", "base_url": url, "api_key": key, **more}
    provider = ProviderConfig(**given)
    return ModelLists(found_key)({"p": provider})["p"]


def test_names_are_told_in_order_and_once() -> None:
    """With the provider's key; of several targets the first is asked."""
    with listing("qwen", "llama", "qwen") as lister:
        assert asked(lister.url) == ("llama", "qwen")
        assert asked(lister.url + "/", None) == ("llama", "qwen")
        target = TargetConfig(base_url=lister.url, api_key="env:K")
        assert asked("http://127.0.0.1:1", None, targets=(target,)) == ("llama", "qwen")
        assert lister.asked == ["Bearer sk-1", None, "Bearer sk-1"]


def test_the_providers_headers_go_along() -> None:
    """Some servers answer nobody without them."""
    with listing("qwen") as lister:
        assert asked(lister.url, None, headers={"Authorization-Of": "env:K", "X-Team": "a"}) == ("qwen",)
        assert lister.headers[0]["authorization-of"] == "sk-1"
        assert lister.headers[0]["x-team"] == "a"


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (
            401,
            b'{"error": "key sk-1 is wrong"}',
            "answers 401 where it is asked what it has, and refuses the key",
        ),
        (404, b"no", "answers 404 where it is asked what it has; it has no list, or base_url"),
        (302, b"", "answers 302"),
        (500, b"", "answers 500"),
        (200, b"<html>", "answers with no list of models"),
        (200, b'{"data": [{"name": "a"}]}', "answers with no list of models"),
        (200, b'{"data": ' + b"[" * 9999, "answers with no list of models"),
        (200, b'{"data": [{"id": "\xff"}]}', "answers with no list of models"),
        (200, b'{"data": []}', "lists no model"),
        (200, b'{"data": [{"id": "a"}], "has_more": true}', "in pages"),
        (200, b" " * (models_http.ANSWER_BYTES_MAX + 1), "cannot be asked what it has: TooLong"),
    ],
)
def test_what_is_no_list(status: int, body: bytes, cause: str) -> None:
    """Is said to be none; no word of it is repeated, which may be a secret."""
    with listing() as lister:
        lister.status, lister.body = status, body
        said = asked(lister.url)
    assert isinstance(said, str)
    assert said.startswith("127.0.0.1 ")
    assert cause in said
    assert "sk-1" not in said


def test_too_many_are_none() -> None:
    """Of a list that is served whole."""
    with listing(*(f"m{n}" for n in range(101))) as lister:
        assert asked(lister.url) == "127.0.0.1 lists 101 models, of at most 100"


def test_who_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or never answers, or whose key is not here, or is ours."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(models_http, "TIMEOUT_S", 0.2)
        assert asked(f"http://127.0.0.1:{port}") == "127.0.0.1 cannot be asked what it has: ReadTimeout"
    assert asked(f"http://127.0.0.1:{port}") == "127.0.0.1 cannot be asked what it has: ConnectError"
    assert asked("http://[::1") == "provider 'p' has no address that can be asked"
    assert asked("http://127.0.0.1:1", "env:GONE") == "provider 'p' was not asked: the key of p is not set"
    assert asked("http://127.0.0.1:1", "env:OURS", kind="openai") == (
        "provider 'p' was not asked: its key is one of Airboss itself"
    )
