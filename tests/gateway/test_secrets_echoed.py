"""Secrets that upstreams say again: none in what is recorded, counted, shared or logged."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from airboss.domain.release import PiiAction
from airboss.governance.policies import policy_of
from airboss.telemetry.metrics import read_counts, target_uses
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.wait import until

PROVIDER_KEY = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"
ACTIONS: tuple[PiiAction | None, ...] = (None, "observe", "mask", "block")
TOKEN = "ghp_aBxdEyfGzhJxkLymNzpQxrSytUzvWxxYyzAq"


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker with a deployment without a policy, and one for each action that changes what is said."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(PROVIDER_KEY)
    plans = [
        deployment(
            upstream.url,
            name=action or "none",
            aliases=(),
            api_key_ref=f"file:{secret}",
            continuation="off",
            policy=policy_of(action, None) if action is not None else None,
        )
        for action in ACTIONS
    ]
    with Gateway(tmp_path_factory.mktemp("echoed"), *plans) as running:
        yield running


@pytest.mark.parametrize(("model", "secret"), [("none", PROVIDER_KEY), ("mask", TOKEN), ("block", TOKEN)])
@pytest.mark.parametrize("status", [400, 409, 422, 429, 200])
def test_an_errors_name(
    gateway: Gateway, upstream: SaidUpstream, model: str, secret: str, status: int
) -> None:
    """It may look like any name. It stands neither among the call's attempts nor in what is counted of the
    place: where a policy has it masked, and always where it is our own key."""
    upstream.events, upstream.status = [], status
    upstream.body = {"error": {"message": "no", "type": f"x.{secret}", "code": secret}}
    try:
        response = gateway.chat(model=model)
    finally:
        upstream.status = 200
    assert response.status_code >= 400
    assert secret not in response.text
    closed = gateway.closed(response.headers["x-request-id"])
    assert secret not in json.dumps(closed)
    metrics, name = gateway.journal.parent / "metrics", closed["attempts"][0]["error_type"]
    until(lambda: any(name in use.failures for use in target_uses(read_counts(metrics, but="").values())))
    assert secret not in (metrics / "gateway-0.json").read_text()
    assert secret.encode() not in gateway.journal_bytes()
    assert secret not in gateway.log
