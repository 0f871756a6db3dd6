"""Labels of calls: kept in records, and sent to no provider that refuses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from airboss.domain.release import ProviderKind
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream

TAGS = {"session_id": "s-1", "team": "blue"}
CHAT = {"messages": [{"role": "user", "content": "x"}]}
ROUTES = [("chat/completions", CHAT), ("completions", {"prompt": "x"}), ("embeddings", {"input": "x"})]
STORES: dict[str, dict[str, Any]] = {
    "stores": {"params": {"store": True}},
    "never": {"params_force": {"store": False}},
    "always": {"params_force": {"store": True}},
}
KINDS: tuple[ProviderKind, ...] = ("openai", "azure", "openai-compatible")


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that keeps what it is sent."""
    with said_upstream() as running:
        choice = {"index": 0, "finish_reason": "stop", "text": "y", "message": {"content": "y"}}
        running.body = {"choices": [choice], "data": [{"index": 0, "embedding": [0.5]}]}
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker in front of it, as each kind of provider that speaks OpenAI's dialect."""
    plans = [deployment(upstream.url, name=kind, aliases=(), kind=kind) for kind in KINDS]
    for name, says in STORES.items():
        stable = msgspec.structs.replace(deployment(upstream.url).stable, **says)
        plans.append(deployment(upstream.url, name=name, aliases=(), kind="openai", stable=stable))
    with Gateway(tmp_path_factory.mktemp("labels"), *plans) as running:
        yield running


def sent(gateway: Gateway, upstream: SaidUpstream, route: str, **body: Any) -> dict[str, Any]:
    """What went upstream of a call with labels, once its record has been seen to have them."""
    with gateway.client() as client:
        answer = client.post(f"/v1/{route}", json=body | {"metadata": TAGS})
    assert answer.status_code == 200, answer.text
    opened = gateway.frames()[0][answer.headers["x-request-id"]]
    assert (opened["session"], opened["tags"]) == ("s-1", {"team": "blue"})
    assert opened["request"]["metadata"] == TAGS
    found: dict[str, Any] = json.loads(upstream.seen[-1])
    return found


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_labels_stay_here_where_openai_refuses_them(
    gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]
) -> None:
    """OpenAI and Azure get no `metadata`, which they refuse without `store`; other servers do."""
    for kind in KINDS:
        told = sent(gateway, upstream, route, model=kind, **body)
        assert told.get("metadata") == (TAGS if kind == "openai-compatible" else None)
        assert {name: told[name] for name in body} == body


def test_labels_of_what_is_stored_at_openai_go_there(gateway: Gateway, upstream: SaidUpstream) -> None:
    """With `store` they are the provider's, too; without it, or with a long body, they are not."""
    assert sent(gateway, upstream, "chat/completions", model="openai", store=True, **CHAT)["metadata"] == TAGS
    long = {"messages": [{"role": "user", "content": "x" * 100_000}]}
    told = sent(gateway, upstream, "chat/completions", model="openai", store=False, **long)
    assert "metadata" not in told
    assert (told["messages"], told["store"]) == (long["messages"], False)


def test_whether_it_is_stored_is_what_goes_there(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A release may say so for the client, or against it."""
    for name, asked, stored in (
        ("stores", None, True),
        ("stores", False, False),
        ("never", True, False),
        ("always", False, True),
    ):
        more = {} if asked is None else {"store": asked}
        told = sent(gateway, upstream, "chat/completions", model=name, **CHAT, **more)
        assert (told["store"], "metadata" in told) == (stored, stored), (name, asked)


@pytest.mark.parametrize(("route", "body"), [*ROUTES, ("responses", {"input": "x"})])
def test_the_user_by_its_newer_name(
    gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]
) -> None:
    """OpenAI's SDKs send `safety_identifier` now; `user` counts where both are there; both go on."""
    for labels, user in (
        ({"safety_identifier": "ann"}, "ann"),
        ({"safety_identifier": "hash", "user": "ann"}, "ann"),
        ({"safety_identifier": None}, None),
    ):
        with gateway.client() as client:
            answer = client.post(f"/v1/{route}", json={"model": "openai-compatible", **body, **labels})
            assert answer.status_code == 200, answer.text
        opened = gateway.frames()[0][answer.headers["x-request-id"]]
        assert opened.get("user") == user
        told = json.loads(upstream.seen[-1])
        assert {name: told.get(name) for name in labels} == labels
    with gateway.client() as client:
        refused = client.post(f"/v1/{route}", json={"model": "openai", **body, "safety_identifier": 7})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "safety_identifier")
