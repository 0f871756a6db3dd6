"""The admin API of a whole Airboss, asked whatever its own description allows, and what it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airboss.console import api
from airboss.testing import FakeProvider
from tests.support.airboss import Airboss
from tests.support.identity import SECRET, IdentityProvider

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"
[models.small]
provider = "fake"
model = "up"
[deployments.assistant]
model = "small"
aliases = ["gpt-4o"]
[keys.app]
[approvals]
required = true
[oidc]
issuer = "{issuer}"
client_id = "airboss"
client_secret = "env:CLIENT_SECRET"
roles = {{ ml-team = "operator" }}
"""
ROUTES = tuple((each.method, each.path) for each in api.ROUTES)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture(scope="module")
def identity() -> Iterator[IdentityProvider]:
    """Who knows people."""
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def whole(identity: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """An Airboss that has answered one call, where changes wait for somebody else and people sign in."""
    with FakeProvider() as fake:
        root = tmp_path_factory.mktemp("edge") / "airboss"
        config = CONFIG.format(url=fake.url, issuer=identity.issuer)
        with Airboss(root, config, env={"CLIENT_SECRET": SECRET}) as running:
            assert running.chat().status_code == 200
            running.settled()
            yield running


@pytest.fixture(scope="module")
def callers(whole: Airboss) -> Mapping[str, Mapping[str, str]]:
    """What those send along who may ask: with the admin key, with a key of their own, and signed in."""
    own = json.loads(whole.verb("keys", "create", "anna", "--role", "admin", "--json"))["key"]
    url = whole.ready["console_url"]
    with httpx2.Client(base_url=url, trust_env=False) as browser:
        there = browser.get("/login/sso").headers["location"]
        back = httpx2.get(there, trust_env=False).headers["location"]
        assert browser.get(back).status_code == 200
        session = browser.cookies["airboss_session"]
    return {
        "admin key": {"authorization": f"Bearer {whole.ready['admin_key']}"},
        "anna": {"authorization": f"Bearer {own}"},
        "ann@example.com": {"cookie": f"airboss_session={session}", "origin": url},
    }


@pytest.fixture(scope="module")
def described(whole: Airboss) -> Any:
    """What the API says of itself."""
    import schemathesis  # noqa: PLC0415 - every worker collects this file, and one runs it

    with admin(whole) as client:
        return schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())


def admin(whole: Airboss) -> httpx2.Client:
    """A client with the admin key."""
    headers = {"authorization": f"Bearer {whole.ready['admin_key']}"}
    return httpx2.Client(base_url=whole.ready["console_url"], headers=headers, timeout=60.0, verify=False)


def check(answer: httpx2.Response) -> None:
    """No 5xx; an error has the house's shape, a message, and nothing of our insides."""
    assert answer.status_code < 500, answer.text
    if answer.status_code < 400 or answer.request.method == "HEAD":
        return
    said = answer.json()
    assert set(said) == {"error"}, said
    assert set(said["error"]) == {"message", "type", "code", "param"}, said
    assert not re.search(r"Traceback|site-packages|object at 0x", said["error"]["message"]), said


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"], ids=["as said", "not"])
def test_what_the_api_says_of_itself(  # noqa: PLR0917 - fixtures and cases
    whole: Airboss,
    described: Any,
    callers: Mapping[str, Mapping[str, str]],
    method: str,
    path: str,
    mode: str,
) -> None:
    """Requests made from the description, and from what it does not allow, get an answer under 500, whoever
    asks, and where they wait for somebody else."""
    from schemathesis.generation import GenerationMode  # noqa: PLC0415 - as above

    cases = described[path][method].as_strategy(generation_mode=GenerationMode[mode])
    with httpx2.Client(base_url=whole.ready["console_url"], timeout=60.0, trust_env=False) as client:

        @settings(
            max_examples=6,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
        )
        @given(data=st.data())
        def asked(data: st.DataObject) -> None:
            caller = data.draw(st.sampled_from(sorted(callers)))
            case = data.draw(cases)
            sent = case.as_transport_kwargs(base_url=whole.ready["console_url"])
            content = json.dumps(sent["json"]).encode() if sent.get("json") is not None else sent.get("data")
            check(
                client.request(
                    method,
                    sent["url"],
                    params=sent.get("params"),
                    content=content,
                    headers={"content-type": "application/json", **callers[caller]},
                )
            )

        asked()


@pytest.mark.parametrize("key", ["admin_key", "api_key", "revoked", "wrong", None])
def test_every_route_by_every_method_and_key(whole: Airboss, key: str | None) -> None:
    """Deny by default: but for the admin key nothing is served; by it, what is not offered is a 405."""
    secret = whole.ready.get(key or "")
    if key == "revoked":
        secret = json.loads(whole.verb("keys", "create", "gone", "--json"))["key"]
        whole.verb("keys", "revoke", "gone")
    elif key == "wrong":
        secret = "ab_" + "w" * 43
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    with httpx2.Client(base_url=whole.ready["console_url"], headers=headers, timeout=60.0) as client:
        for path in sorted({path for _, path in ROUTES}):
            for method in METHODS:
                offered = (method, path) in ROUTES or (method == "HEAD" and ("GET", path) in ROUTES)
                if key == "admin_key" and offered:
                    continue
                answer = client.request(method, re.sub(r"{\w+}", "some-id", path))
                check(answer)
                if key == "admin_key":  # what is no route of its own may be an id of another's
                    assert answer.status_code == 405 or (
                        method in {"GET", "HEAD"} and answer.status_code == 404
                    ), (method, path)
                else:
                    assert answer.status_code in {401, 403, 429}, (method, path, answer.text)
