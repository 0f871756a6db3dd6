"""Labels in a header, for clients that cannot put them into a body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from airboss.domain.release import PiiAction, Policy
from airboss.gateway.labels import read
from airboss.store.responses import SqlResponseStore
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream

LABELS = {"user_id": "ann", "session_id": "s-1", "project": "apollo", "env": "prod"}
HEADER = {"x-airboss-metadata": json.dumps(LABELS)}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
ACTIONS: tuple[PiiAction, ...] = ("tokenize", "block", "observe")
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", CHAT),
    ("chat/completions", CHAT | {"stream": True}),
    ("completions", {"prompt": "x"}),
    ("embeddings", {"input": "x"}),
    ("messages", CHAT | {"max_tokens": 9}),
    ("responses", {"input": "x"}),
    ("images/generations", {"prompt": "x"}),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that keeps what it is sent."""
    with said_upstream() as running:
        choice = {"index": 0, "finish_reason": "stop", "text": "y", "message": {"content": "y"}}
        running.body = {"choices": [choice], "data": [{"index": 0, "embedding": [0.5]}]}
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: SaidUpstream) -> Iterator[Gateway]:
    """A worker in front of it, also under a policy that masks."""
    plain = deployment(upstream.url)
    masks = Policy(pii=(("email", "mask"),), detectors="1")
    stable = msgspec.structs.replace(plain.stable, policy=masks)
    masked = deployment(upstream.url, name="masked", aliases=(), stable=stable)
    under = {
        action: deployment(
            upstream.url,
            name=action,
            aliases=(),
            stable=msgspec.structs.replace(
                plain.stable, policy=Policy(pii=(("email", action),), detectors="1")
            ),
        )
        for action in ACTIONS
    }
    with Gateway(tmp_path_factory.mktemp("beside"), plain, masked, *under.values()) as running:
        yield running


def recorded(gateway: Gateway, route: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """What the record has of a call; how it was answered is not asked."""
    with gateway.client() as client:
        answer = client.post(f"/v1/{route}", json={"model": "gpt-4o", **body}, headers=headers)
    found: dict[str, Any] = gateway.frames()[0][answer.headers["x-request-id"]]
    return found


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_a_header_labels_calls_of_every_route(
    gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]
) -> None:
    """The record has its user, session and tags, and the upstream nothing of it."""
    opened = recorded(gateway, route, body, HEADER)
    assert (opened["user"], opened["session"]) == ("ann", "s-1")
    assert opened["tags"] == {"project": "apollo", "env": "prod"}
    assert "x-airboss-metadata" not in upstream.headers[-1]
    assert b"apollo" not in upstream.seen[-1]


def test_what_the_body_says_goes_before(gateway: Gateway) -> None:
    """A program's usual labels stand in the header of its client, a call's own in its body."""
    own = {"user": "bob", "metadata": {"session_id": "s-2", "env": "test", "step": "1"}}
    opened = recorded(gateway, "chat/completions", CHAT | own, HEADER)
    assert (opened["user"], opened["session"]) == ("bob", "s-2")
    assert opened["tags"] == {"project": "apollo", "env": "test", "step": "1"}


@pytest.mark.parametrize("said", ["user", "safety_identifier", "header"])
def test_what_is_kept_of_a_response_is_of_the_person_in_its_record(gateway: Gateway, said: str) -> None:
    """Whatever named them: what an erasure finds of records it finds of kept conversations, too."""
    person = f"ann-by-{said}"
    headers = {"x-airboss-metadata": json.dumps({"user_id": person})} if said == "header" else {}
    own = {} if headers else {said: person}
    opened = recorded(gateway, "responses", {"input": "x", **own}, headers)
    assert opened["user"] == person
    store = SqlResponseStore(f"sqlite:///{gateway.journal.parent / 'ledger.db'}")
    try:
        assert store.forget_user(person) == 1
    finally:
        store.close()


def test_policies_read_it_too(gateway: Gateway) -> None:
    """What one would mask in a body's labels, names too, is masked in these, whatever the body holds."""
    said = {"owner": "jane@example.com", "shadow_of": "jane@example.com", "joe@example.com": "x"}
    header = {"x-airboss-metadata": json.dumps(said)}
    for words in ("x", "I am joe@example.com"):
        body = {"model": "masked", "messages": [{"role": "user", "content": words}]}
        assert recorded(gateway, "chat/completions", body, header)["tags"] == {
            "owner": "[EMAIL]",
            "shadow_of": "[EMAIL]",
            "[EMAIL]": "x",
        }


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_a_policy_that_blocks_refuses_what_stands_in_it(
    gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]
) -> None:
    """As in the labels of a body; the record has it masked, and among what was found."""
    asked = len(upstream.seen)
    header = {"x-airboss-metadata": json.dumps({"owner": "jane@example.com", "team": "blue"})}
    with gateway.client() as client:
        answer = client.post(f"/v1/{route}", json={**body, "model": "block"}, headers=header)
    assert answer.status_code == 400
    assert "blocks requests that hold email" in answer.json()["error"]["message"]
    assert len(upstream.seen) == asked
    opened, closed = (frames[answer.headers["x-request-id"]] for frames in gateway.frames()[:2])
    assert opened["tags"] == {"owner": "[EMAIL]", "team": "blue"}
    found = [{"kind": "email", "action": "block", "count": 1, "where": "request.metadata.owner"}]
    assert (closed["status"], closed["policy"]) == ("refused", found)


@pytest.mark.parametrize(
    ("action", "owner"),
    [
        ("masked", "[EMAIL]"),
        ("tokenize", "<EMAIL_1>"),
        ("observe", "jane@example.com"),
    ],
)
def test_what_is_found_in_it_is_counted(gateway: Gateway, action: str, owner: str) -> None:
    """Beside what is found in the body, where the same value has the same placeholder."""
    header = {"x-airboss-metadata": json.dumps({"owner": "jane@example.com"})}
    body = {"model": action, "messages": [{"role": "user", "content": "I am jane@example.com"}]}
    with gateway.client() as client:
        made = client.post("/v1/chat/completions", json=body, headers=header).headers["x-request-id"]
    opened, closed = (frames[made] for frames in gateway.frames()[:2])
    assert opened["tags"] == {"owner": owner}
    assert opened["request"]["messages"][0]["content"] == f"I am {owner}"
    found = {each["where"]: each["count"] for each in closed["policy"] if each["where"][:7] == "request"}
    assert found == {"request.metadata.owner": 1, "request.messages.content": 1}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("team=blue", "no JSON object of texts"),
        ('{"team": ["a", "b"]}', "no JSON object of texts"),
        ("[]", "no JSON object of texts"),
        ("[" * 50_000, "no JSON object of texts"),
        ('{"team":' * 5_000, "no JSON object of texts"),
        (json.dumps({f"t{n}": "x" for n in range(65)}), "has 65 members"),
        (json.dumps({"t": "x" * 20_000}), "over"),
    ],
)
def test_one_that_cannot_be_read_is_refused(gateway: Gateway, header: str, words: str) -> None:
    """With what it should be: labels that silently went missing would be looked for in vain."""
    with gateway.client() as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "gpt-4o", **CHAT}, headers={"x-airboss-metadata": header}
        )
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_words_beyond_ascii_come_as_clients_send_them() -> None:
    """UTF-8, Latin-1 as Node's `fetch` sends it, or escaped."""
    said = '{"team": "Zürich"}'
    for header in (said.encode(), said.encode("latin-1"), json.dumps({"team": "Zürich"}).encode()):
        assert read(header) == {"team": "Zürich"}


def test_one_that_comes_twice_is_refused(gateway: Gateway) -> None:
    """A client's and a proxy's, perhaps: one of them would silently go missing."""
    twice = [("x-airboss-metadata", '{"team": "blue"}'), ("X-Airboss-Metadata", '{"app": "shop"}')]
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"model": "gpt-4o", **CHAT}, headers=twice)
    assert answer.status_code == 400
    assert "'x-airboss-metadata' was sent twice" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_a_policy_that_blocks_reads_labels_in_the_body(
    gateway: Gateway, route: str, body: dict[str, Any]
) -> None:
    """On every route."""
    said = {**body, "model": "block", "metadata": {"owner": "jane@example.com"}}
    with gateway.client() as client:
        answer = client.post(f"/v1/{route}", json=said)
    assert answer.status_code == 400
    opened, closed = (frames[answer.headers["x-request-id"]] for frames in gateway.frames()[:2])
    assert "jane@" not in str(opened)
    assert [each["where"] for each in closed["policy"]] == ["request.metadata.owner"]
