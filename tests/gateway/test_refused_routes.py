"""Routes of OpenAI's that are not served, as its clients ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway, deployment


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker; nothing gets as far as its upstream."""
    with Gateway(tmp_path_factory.mktemp("g") / "g", deployment("http://127.0.0.1:9/v1")) as running:
        yield running


@pytest.mark.parametrize(
    "path", ["/v1/responses/compact", "/v1/responses/resp_1/cancel", "/v1/conversations"]
)
def test_what_openai_does_by_a_post_is_no_route(gateway: Gateway, path: str) -> None:
    """Its name is none of a response's, which could be fetched instead."""
    with gateway.client() as client:
        answer = client.post(path, json={"model": "gpt-4o", "input": "hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_route")


@pytest.mark.parametrize(("path", "status"), [("/v1/realtime?model=gpt-4o", 404), ("/v1/responses", 405)])
def test_a_websocket_is_told_to_be_http(gateway: Gateway, path: str, status: int) -> None:
    """The clients of Realtime, and those of Responses that may use one."""
    asks = {"connection": "Upgrade", "upgrade": "WebSocket", "sec-websocket-version": "13"}
    with gateway.client() as client:
        asked = client.get(path, headers=asks | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
        plain = client.get(path)
    words = "WebSockets are not served"
    assert (asked.status_code, words in asked.text, words in plain.text) == (status, True, False)
