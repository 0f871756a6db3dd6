"""A key that is good from some addresses alone, at a running Airboss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

ASKED = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}
ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/chat/completions", ASKED),
    ("POST", "/chat/completions", ASKED | {"stream": True}),
    ("POST", "/messages", ASKED | {"max_tokens": 9}),
    ("POST", "/messages/count_tokens", ASKED),
    ("POST", "/responses", {"model": "support", "input": "hi"}),
    ("GET", "/responses/resp_1", None),
    ("POST", "/embeddings", {"model": "support", "input": "hi"}),
    ("POST", "/rerank", {"model": "support", "query": "a", "documents": ["b"]}),
    ("POST", "/feedback", {"record_id": "x", "name": "a", "value": 1}),
    ("POST", "/traces", {}),
    ("POST", "/logs", {}),
    ("GET", "/models", None),
    ("GET", "/models/support", None),
    ("GET", "/nothing", None),
    ("POST", "/chat/completions", ASKED | {"more": "x" * 300_000}),
)


def test_a_key_is_good_from_where_it_says(provider: FakeProvider, tmp_path: Path) -> None:
    """At every route and on connections that were there before, over a gateway and a controller that are
    killed; a header that says otherwise is nothing."""
    with Airboss(tmp_path / "a", fake(provider.url)) as airboss:
        made = json.loads(airboss.verb("keys", "create", "app", "--from", "127.0.0.2, 10.0.0.0/8", "--json"))
        headers = {"authorization": f"Bearer {made['key']}"}
        url = airboss.ready["base_url"]

        def client(address: str) -> httpx2.Client:
            return httpx2.Client(
                base_url=url, headers=headers, transport=httpx2.HTTPTransport(local_address=address)
            )

        with client("127.0.0.2") as good, client("127.0.0.3") as bad:
            for _ in range(3):  # a head that a connection has sent before is read another way
                assert good.post("/chat/completions", json=ASKED).status_code == 200
                refused = bad.post("/chat/completions", json=ASKED, headers={"x-forwarded-for": "127.0.0.2"})
                assert refused.status_code == 403
            error = refused.json()["error"]
            assert error["code"] == "address_not_allowed"
            assert "not good from 127.0.0.3" in error["message"]
            assert "10.0.0" not in error["message"]
            for method, path, body in ROUTES:
                answer = bad.request(method, path, json=body)
                assert answer.status_code == 403, (path, answer.text)
            assert bad.post("/chat/completions", json=ASKED, headers={"x-api-key": made["key"]}).is_error

            airboss.verb("keys", "set", "app", "--from", "127.0.0.3")
            until(lambda: good.post("/chat/completions", json=ASKED).status_code == 403)
            assert bad.post("/chat/completions", json=ASKED).status_code == 200
            for name in ("gateway-0", "controller"):
                airboss.begun_anew(name)
        until(lambda: run_airboss("status", cwd=airboss.root).returncode == 0)
        with client("127.0.0.2") as bad:
            until(lambda: bad.post("/chat/completions", json=ASKED).status_code == 403)
        (shown,) = [each for each in listed(airboss) if each["name"] == "app"]
        assert shown["sources"] == ["127.0.0.3"]
        for wrong in ("10.0.0.5/8", "example.com", ","):
            done = run_airboss("keys", "set", "app", "--from", wrong, cwd=airboss.root)
            assert done.returncode == 2, done.stdout
        (shown,) = [each for each in listed(airboss) if each["name"] == "app"]
        assert shown["sources"] == ["127.0.0.3"]
        airboss.verb("keys", "set", "app", "--from", "none")
        with client("127.0.0.9") as anywhere:
            until(lambda: anywhere.post("/chat/completions", json=ASKED).status_code == 200)
        said = [json.loads(each) for each in airboss.verb("audit", "list", "--json").splitlines()]
        told = [each["detail"].get("sources") for each in said if each["action"].startswith("keys.")]
        assert told[:3] == [None, ["127.0.0.3"], ["127.0.0.2", "10.0.0.0/8"]]
        assert "valid" in airboss.verb("audit", "verify")


def listed(airboss: Airboss) -> list[dict[str, Any]]:
    """The keys."""
    return [json.loads(each) for each in airboss.verb("keys", "list", "--json").splitlines()]
