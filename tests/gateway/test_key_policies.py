"""Policies of keys and of their teams: they bind a call beside those of what it calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Caching, ServingPlan
from airboss.domain.ports import ApiKey, Snapshot
from airboss.domain.release import CustomKind, ModelVersion, Policy, Release
from airboss.gateway.screened import compiled
from airboss.gateway.serving import build_serving
from airboss.governance.keys import hash_key
from airboss.governance.policies import policy_of
from tests.support.gateway import DIGEST, KEY, Gateway, deployment
from tests.support.otlp import llm, request
from tests.support.said_upstream import SaidUpstream
from tests.support.wait import until

MAIL, PHONE, CODE = "jane.doe@example.com", "+1 415 555 2671", "Blue Heron"
TEXT = f"Mail {MAIL} or call {PHONE} of {CODE}."
MASKS, BLOCKS, TOKENS, BOTH = ("ab_" + letter * 43 for letter in "mbtd")
POLICIES = {
    "masks": policy_of("mask", ("email",)),
    "blocks": policy_of("block", ("phone",)),
    "tokens": policy_of("tokenize", ("email", "phone")),
    "words": policy_of("observe", (), (CustomKind(name="codename", action="mask", words=(CODE,)),)),
}
SECRETS = {"app": KEY, "masks": MASKS, "blocks": BLOCKS, "tokens": TOKENS, "both": BOTH}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": TEXT}]}
ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", CHAT),
    ("chat/completions", CHAT | {"more": "x" * 300_000}),
    ("completions", {"prompt": TEXT}),
    ("embeddings", {"input": TEXT}),
    ("messages", CHAT | {"max_tokens": 9}),
    ("responses", {"input": TEXT, "store": False}),
    ("moderations", {"input": TEXT}),
    ("rerank", {"query": TEXT, "documents": [TEXT]}),
    ("images/generations", {"prompt": TEXT}),
    ("audio/speech", {"input": TEXT, "voice": "alloy"}),
]

SAID = ("chat/completions", "completions", "messages", "responses")
"""Whose answers are words; others' are passed on as they are."""


def key(name: str, *policies: str, **more: Any) -> ApiKey:
    """A key under these policies."""
    made = datetime.now(UTC) - timedelta(days=1)
    return ApiKey(
        name=name, sha256=hash_key(SECRETS.get(name, name)), created_at=made, policies=policies, **more
    )


KEYS = (
    key("app"),
    key("masks", "masks"),
    key("blocks", "blocks"),
    key("tokens", "tokens"),
    key("both", "words", "masks"),
    ApiKey(name="airboss", sha256=hash_key("ab_own"), created_at=datetime.now(UTC), internal=True),
)


@pytest.fixture(scope="module")
def screened(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment under nothing, one whose release and one that itself is under a policy."""
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    stable = Release(digest=DIGEST, name="r", model=model, policy=policy_of("tokenize", ("email",)))
    plans = [
        deployment(upstream.url, kind="openai"),
        deployment(upstream.url, name="released", aliases=(), stable=stable),
        deployment(upstream.url, name="strict", aliases=(), policy=policy_of("block", ("email",))),
        deployment(upstream.url, name="plain", aliases=()),
    ]
    with Gateway(tmp_path_factory.mktemp("keys"), *plans, keys=KEYS, policies=POLICIES) as running:
        yield running


@pytest.fixture
def gateway(screened: Gateway, upstream: SaidUpstream) -> Gateway:
    """The module's worker, whose upstream answers with what it was made for."""
    upstream.reset()
    choice = {"index": 0, "finish_reason": "stop", "text": TEXT, "message": {"content": TEXT}}
    upstream.body = {"choices": [choice], "data": [{"index": 0, "embedding": [0.5]}]}
    return screened


def post(gateway: Gateway, secret: str, route: str, body: dict[str, Any], **more: Any) -> httpx2.Response:
    """One call with a key."""
    with gateway.client() as client:
        headers = {"authorization": f"Bearer {secret}"} | more
        return client.post(f"/v1/{route}", json={"model": "assistant", **body}, headers=headers)


def written(gateway: Gateway, answer: httpx2.Response) -> str:
    """All that the journal has of a call."""
    record_id = answer.headers["x-request-id"]
    closed = gateway.closed(record_id)
    return json.dumps([gateway.frames()[0][record_id], closed], ensure_ascii=False)


@pytest.mark.parametrize(("route", "body"), ROUTES)
def test_every_route_is_under_the_keys_policy(
    gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]
) -> None:
    """What goes upstream, what the client gets and what is recorded; another key's calls are as they were."""
    if route not in SAID:
        upstream.body = {"data": [{"index": 0, "embedding": [0.5]}]}
    answer = post(gateway, MASKS, route, body)
    assert MAIL not in upstream.seen[-1].decode()
    assert "[EMAIL]" in upstream.seen[-1].decode()
    assert PHONE in upstream.seen[-1].decode()
    assert MAIL not in answer.text
    recorded = written(gateway, answer)
    assert MAIL not in recorded
    assert '"kind": "email"' in recorded
    answer = post(gateway, KEY, route, body)
    assert MAIL in upstream.seen[-1].decode()
    assert MAIL in written(gateway, answer)


@pytest.mark.parametrize("route", ["chat/completions", "messages", "responses"])
def test_a_stream_is_under_it(gateway: Gateway, upstream: SaidUpstream, route: str) -> None:
    """Cut wherever it likes, in each dialect."""
    upstream.stream([{"role": "assistant", "content": ""}, *({"content": letter} for letter in TEXT)])
    body = {"input": TEXT, "store": False} if route == "responses" else CHAT | {"max_tokens": 99}
    for secret, there in ((MASKS, False), (KEY, True)):
        answer = post(gateway, secret, route, body | {"stream": True, "model": "plain"})
        assert answer.status_code == 200, answer.text
        assert ("[EMAIL]" in answer.text) is not there
        assert (MAIL in upstream.seen[-1].decode()) is there
        assert (MAIL in written(gateway, answer)) is there


def test_tokens_come_back_to_who_sent_them(gateway: Gateway, upstream: SaidUpstream) -> None:
    """As under a deployment's policy; the record has the placeholders."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "Write to <EMAIL_1>."}}
    upstream.body = {"choices": [choice]}
    answer = post(gateway, TOKENS, "chat/completions", CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == f"Write to {MAIL}."
    assert "<EMAIL_1> or call <PHONE_1>" in upstream.seen[-1].decode()
    assert MAIL not in written(gateway, answer)


def test_labels_in_a_header_are_under_it(gateway: Gateway) -> None:
    """As those in a body."""
    labels = json.dumps({"asked_by": MAIL})
    for secret, note in ((MASKS, "[EMAIL]"), (KEY, MAIL)):
        answer = post(gateway, secret, "chat/completions", CHAT, **{"x-airboss-metadata": labels})
        opened = gateway.frames()[0][answer.headers["x-request-id"]]
        assert opened["tags"] == {"asked_by": note}


@pytest.mark.parametrize(("route", "body"), [each for each in ROUTES if each[0] != "embeddings"])
def test_a_key_may_block(gateway: Gateway, upstream: SaidUpstream, route: str, body: dict[str, Any]) -> None:
    """Nothing goes upstream, and the client is told whose policy it is."""
    answer = post(gateway, BLOCKS, route, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "a policy of this key blocks requests that hold phone; take it out"
    )
    assert upstream.seen == []
    assert PHONE not in written(gateway, answer)
    answer = post(gateway, BLOCKS, "chat/completions", CHAT | {"model": "strict"})
    assert "a policy of this deployment or key blocks requests that hold email;" in answer.text
    answer = post(gateway, KEY, "chat/completions", CHAT | {"model": "strict"})
    assert "a policy of this deployment blocks requests that hold email;" in answer.text


def test_what_cannot_be_read_is_refused(gateway: Gateway, upstream: SaidUpstream) -> None:
    """As under a deployment's: files, and prompts that are tokens."""
    with gateway.client() as client:
        client.headers["authorization"] = f"Bearer {MASKS}"
        answer = client.post("/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "assistant"})
    assert answer.status_code == 400
    assert "a policy of this key changes or blocks what is said" in answer.text
    assert "use a key without such a policy" in answer.text
    answer = post(gateway, MASKS, "completions", {"prompt": [1, 2]})
    assert "which the policy of this key cannot read" in answer.text
    assert upstream.seen == []


def test_counting_tokens_is_under_it(gateway: Gateway) -> None:
    """What would not be sent is not counted, and what is counted is what would be sent."""
    assert post(gateway, BLOCKS, "messages/count_tokens", CHAT).status_code == 400
    long = {"messages": [{"role": "user", "content": f"{'x' * 500}@example.com " * 4}]}
    masked, plain = (
        post(gateway, each, "messages/count_tokens", long).json()["input_tokens"] for each in (MASKS, KEY)
    )
    assert masked < plain


def test_the_strictest_of_all_that_bind_counts(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Of release, deployment, key and team: here the release tokenizes, the key masks, its team has words."""
    post(gateway, BOTH, "chat/completions", CHAT | {"model": "released"})
    assert f"Mail [EMAIL] or call {PHONE} of [CODENAME]." in upstream.seen[-1].decode()
    post(gateway, TOKENS, "chat/completions", CHAT | {"model": "released"})
    assert f"Mail <EMAIL_1> or call <PHONE_1> of {CODE}." in upstream.seen[-1].decode()


def test_feedback_and_spans_are_under_it(gateway: Gateway) -> None:
    """They tell of calls with that key."""
    asked = post(gateway, MASKS, "chat/completions", CHAT).headers["x-request-id"]
    body = {"record_id": asked, "name": "helpful", "value": 1, "comment": TEXT}
    for secret, there in ((TOKENS, False), (KEY, True)):
        with gateway.client() as client:
            client.headers["authorization"] = f"Bearer {secret}"
            assert client.post("/v1/feedback", json=body).status_code == 202
            part = {"type": "text", "content": TEXT}
            messages = json.dumps([{"role": "user", "parts": [part]}])
            spans = request(llm(1, attributes={"gen_ai.input.messages": messages}))
            assert client.post("/v1/traces", json=spans).status_code == 200
        score, span = gateway.scores()[-1], gateway.spans()[-1]
        assert (PHONE in json.dumps(score)) is there
        assert (PHONE in json.dumps(span)) is there


def wait_for_plan(running: Gateway, number: int) -> None:
    """Until calls are answered by that plan."""
    until(lambda: running.chat().headers["x-airboss-plan"] == str(number))


def test_an_answer_that_was_kept_without_it_is_not_given_under_it(
    upstream: SaidUpstream, tmp_path: Any
) -> None:
    """Answers are kept for each key: what was kept before a policy bound it, or another, is not found."""
    upstream.reset()
    upstream.body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": TEXT}}]}
    plan = deployment(upstream.url, cache=Caching(ttl_s=600))
    with Gateway(tmp_path / "own", plan, keys=KEYS, policies=POLICIES) as running:
        asked = {"messages": [{"role": "user", "content": "who?"}]}
        for plans, (policies, there) in enumerate((((), True), (("masks",), False), (("words",), True)), 2):
            running.keys = (key("app", *policies),)
            running.publish(plan)
            wait_for_plan(running, plans)
            first = post(running, KEY, "chat/completions", asked)
            assert first.headers["x-airboss-cache"] == "miss"

            def again() -> httpx2.Response | None:
                answer = post(running, KEY, "chat/completions", asked)
                return answer if answer.headers["x-airboss-cache"] == "hit" else None

            assert [MAIL in each.text for each in (first, until(again))] == [there, there]


def test_a_changed_key_binds_the_next_call(upstream: SaidUpstream, tmp_path: Any) -> None:
    """Without a restart, and as soon off again."""
    upstream.reset()
    upstream.body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "ok"}}]}
    plan = deployment(upstream.url)

    def sent() -> str:
        running.chat(TEXT)
        return upstream.seen[-1].decode()

    with Gateway(tmp_path / "own", plan, keys=KEYS, policies=POLICIES) as running:
        assert MAIL in sent()
        for number, (policies, there) in enumerate(((("masks",), False), ((), True)), 2):
            running.keys = (key("app", *policies),)
            running.publish(plan)
            wait_for_plan(running, number)
            assert (MAIL in sent()) is there


def view(*keys: ApiKey, policies: dict[str, Policy]) -> Any:
    """What a worker serves from with these."""
    plan = ServingPlan(
        number=1,
        created_at=datetime.now(UTC),
        deployments=(deployment("http://127.0.0.1:9/v1"),),
        policies=policies,
    )
    snapshot = Snapshot(revision=1, plan=plan, keys=keys)
    return build_serving(snapshot, provider_key=lambda _: None, own_secrets=(), now=datetime.now(UTC))


def test_a_key_whose_policy_is_not_there_opens_nothing() -> None:
    """Rather than to let its calls pass unread; the others' are served, also once the view has aged."""
    serving = view(key("masks", "masks"), key("lost", "masks", "gone"), key("app"), policies=POLICIES)
    for each in (serving, serving.aged(datetime.now(UTC))):
        assert each.keyring.principal("lost") is None
        assert each.keyring.principal(MASKS).policies == (POLICIES["masks"],)
        assert each.keyring.principal(KEY).policies is None


def test_names_are_looked_for_where_a_key_asks_for_them() -> None:
    """The process that finds them is started for its policy; not for one that no living key names."""
    policies = {"names": policy_of("mask", ("person",))}
    revoked = key("old", "names", revoked_at=datetime.now(UTC))
    assert view(key("masks", "names"), policies=policies).asks_names
    assert not view(key("app"), revoked, policies=policies).asks_names


def test_no_call_waits_for_its_policies_to_be_compiled() -> None:
    """Of every deployment with every key that may call it; of others nothing is made ready."""
    compiled.cache_clear()
    narrow = key("both", "words", "masks", deployments=("elsewhere",))
    view(key("masks", "masks"), key("blocks", "blocks"), key("app"), narrow, policies=POLICIES)
    assert compiled.cache_info().currsize == 2
    compiled(None, None, POLICIES["masks"])
    assert compiled.cache_info().hits == 1
