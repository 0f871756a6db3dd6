"""`store` of a response says whether it is kept here, whoever made it and however it ended."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.release import ProviderKind
from airboss.testing import FakeProvider
from tests.support.gateway import Gateway, deployment
from tests.support.spoken import say, streamed

KINDS: tuple[ProviderKind, ...] = ("openai", "openai-compatible")
"""Whose responses pass as they are, and whose chat becomes one."""


def told(response: httpx2.Response) -> Any:
    """The response object of an answer, streamed or not."""
    whole = response.headers["content-type"] == "application/json"
    return response.json() if whole else streamed(response)[-1][1]["response"]


def found(gateway: Gateway, response_id: str) -> int:
    """Whether it is there: the status of asking for it."""
    with gateway.client() as client:
        return client.get(f"/v1/responses/{response_id}").status_code


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_says_so(
    own_root: Path, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """By the provider's own word, where that says it."""
    with Gateway(own_root, deployment(provider.url, kind=kind)) as gateway:
        made = told(say(gateway, "responses", stream=stream))
        assert (made["store"], found(gateway, made["id"])) == (True, 200)
        built = told(say(gateway, "responses", stream=stream, previous_response_id=made["id"]))
        assert (built["store"], built["previous_response_id"]) == (True, made["id"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_with_bodies_off_none_is(
    own_root: Path, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """No event of a stream says otherwise."""
    with Gateway(own_root, deployment(provider.url, kind=kind), bodies=False) as gateway:
        response = say(gateway, "responses", stream=stream)
        assert (told(response)["store"], '"store":true' in response.text.replace(" ", "")) == (False, False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_kept_is_told(
    own_root: Path, provider: FakeProvider, kind: ProviderKind, stream: bool
) -> None:
    """The answer is whole; it, and its record, say that it cannot be built on."""
    with Gateway(own_root, deployment(provider.url, kind=kind)) as gateway:
        assert told(say(gateway, "responses"))["store"]  # and the ledger is there
        with closing(sqlite3.connect(own_root / "ledger.db")) as ledger:
            ledger.execute("DROP TABLE responses")
        response = say(gateway, "responses", stream=stream)
        made, record = told(response), gateway.closed(response.headers["x-request-id"])
        assert (made["status"], made["store"], record["response"]["store"]) == ("completed", False, False)


@pytest.mark.parametrize("fault", ["cut-reset", "error-mid-stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_failed_is_not_kept(
    own_root: Path, provider: FakeProvider, kind: ProviderKind, fault: str
) -> None:
    """A stream that broke ends in a response that nobody can build on."""
    with Gateway(own_root, deployment(provider.url, kind=kind, continuation="off")) as gateway:
        provider.script(f"{fault};after=3")
        response = say(gateway, "responses", stream=True)
        name, event = streamed(response)[-1]
        assert (name, event["response"]["store"]) == ("response.failed", False), json.dumps(event)
        assert found(gateway, event["response"]["id"]) == 404
