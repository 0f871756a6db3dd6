"""A call of our own may be answered by a deployment's shadow; nobody else's is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Served
from airboss.domain.ports import ApiKey
from airboss.domain.release import ModelVersion, Release
from airboss.governance.keys import hash_key
from airboss.governance.policies import policy_of
from airboss.providers.fake_faults import Behaviour
from airboss.releases.build import sealed
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment

OWN = "ab_" + "o" * 43
OF = "0197b0f2-6c1e-7cc2-9a3e-0d3a8f1b2c4d"
NEXT = sealed(
    Release(
        digest="",
        name="next",
        model=ModelVersion(provider="fake", kind="openai-compatible", model="up"),
        prompt="Be kind.",
    )
)


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider) -> Iterator[Gateway]:
    """A worker whose deployment `support` has a shadow, and `plain` none."""
    now = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=now),
        ApiKey(name="airboss", sha256=hash_key(OWN), created_at=now, internal=True),
    )
    plain = deployment(provider.url, name="plain", aliases=())
    shadow = Served(release=NEXT, target=plain.target)
    served = msgspec.structs.replace(plain, name="support", shadow=shadow)
    strict = ApiKey(name="a b", sha256=hash_key("ab_s"), created_at=now, policies=("strict",))
    gone = msgspec.structs.replace(strict, name="gone", revoked_at=now)
    policies = {"strict": policy_of("mask", ("email",))}
    with Gateway(
        tmp_path / "gateway", served, plain, keys=(*keys, strict, gone), policies=policies
    ) as running:
        yield running


def ask(
    gateway: Gateway, *, key: str = OWN, model: str = "support", content: str = "hi", of_key: str = ""
) -> httpx2.Response:
    """One call that asks another again."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "metadata": {"team": "a"}}
    headers = {"authorization": f"Bearer {key}", "x-airboss-shadow-of": OF}
    headers |= {"x-airboss-key": quote(of_key)} if of_key else {}
    return httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30.0)


def test_our_own_call_is_the_shadows(gateway: Gateway, provider: FakeProvider) -> None:
    """Its prompt goes upstream, and the record says which call it repeats."""
    answer = ask(gateway)
    assert (answer.status_code, answer.headers["x-airboss-arm"]) == (200, "shadow")
    assert answer.headers["x-airboss-release"] == NEXT.digest
    assert json.loads(provider.last().body)["messages"][0] == {"role": "system", "content": "Be kind."}
    opened, _ = gateway.frames()
    record = opened[answer.headers["x-request-id"]]
    assert (record["arm"], record["key"], record["tags"]) == (
        "shadow",
        "airboss",
        {"team": "a", "shadow_of": OF},
    )


def test_an_apps_call_is_not(gateway: Gateway) -> None:
    """The header means nothing where a key is not our own."""
    answer = ask(gateway, key=KEY)
    assert (answer.status_code, answer.headers["x-airboss-arm"]) == (200, "stable")
    opened, _ = gateway.frames()
    assert opened[answer.headers["x-request-id"]]["tags"] == {"team": "a"}


def test_the_policies_of_the_callers_key_bind_it_too(gateway: Gateway, provider: FakeProvider) -> None:
    """What a shadow says of a call stands in a record as what the caller got does. Where that key is gone
    nothing is asked, and an app cannot come under another key's."""
    mail = "jane.doe@example.com"
    provider.script(*[Behaviour(echo=True)] * 4)
    for of_key, key, seen in (("a b", OWN, False), ("app", OWN, True), ("", OWN, True), ("a b", KEY, True)):
        answer = ask(gateway, content=mail, of_key=of_key, key=key)
        assert answer.status_code == 200, answer.text
        record_id = answer.headers["x-request-id"]
        written = json.dumps(
            [gateway.frames()[0][record_id]["request"], gateway.closed(record_id)["response"]]
        )
        assert (mail in written, mail in provider.last().body) == (seen, seen), (of_key, key)
    for of_key in ("gone", "nobody"):
        assert ask(gateway, of_key=of_key).json()["error"]["code"] == "key_not_found"


def test_our_own_call_tells_whose_words_it_has(gateway: Gateway, provider: FakeProvider) -> None:
    """So that its record is forgotten with them; its provider hears nothing of it, and of an app's call the
    header means nothing."""
    for key, user in ((OWN, "ann \u00fc\n%"), (KEY, None)):
        body = {"model": "plain", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {key}", "x-airboss-user": quote("ann \u00fc\n%")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30.0)
        opened, _ = gateway.frames()
        assert opened[answer.headers["x-request-id"]].get("user") == user
        assert "ann" not in str((provider.last().body, provider.last().headers))


def test_without_a_shadow_nothing_is_asked(gateway: Gateway, provider: FakeProvider) -> None:
    """The plan may have changed meanwhile: it is refused, and leaves no record."""
    answer = ask(gateway, model="plain")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "release_not_found")
    assert provider.stats().requests == 0
