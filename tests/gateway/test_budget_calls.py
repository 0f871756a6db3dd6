"""A budget under all that can happen to calls at once: hedges, retries, fallbacks, faults, leavers."""

from __future__ import annotations

import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from airboss.domain.plan import Budget, DeploymentPlan, Hedge, Retry, Target, Timeouts
from airboss.domain.ports import ApiKey
from airboss.governance.budgets import money
from airboss.governance.keys import hash_key
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, PRICE, Gateway, deployment
from tests.support.wait import until

SEED = 20261128
BUDGET = Decimal("0.004")
AT_ONCE = 12
WELL = 60
"""So many are answered at once at first: then it is known how long an answer usually takes."""
LATE_S = 0.6
"""How late some are: later than answers usually come on any machine, or there is nothing to hedge."""
CALLS_MAX = 400
FAULTS = [
    "ok", "ok", "ok", "late-head", "late-first-token", "500", "503", "reset", "cut-reset", "cut-end", "stall",
    "error-mid-stream", "malformed-event", "no-usage", "html", "context-length", "429", "truncated-body",
]  # fmt: skip


def plan(one: FakeProvider, two: FakeProvider) -> DeploymentPlan:
    """A deployment at two places, with a fallback, that tries everything."""
    backup = Target(
        provider="backup", kind="openai-compatible", base_urls=(two.url,), upstream_model="big", price=PRICE
    )
    tries = deployment(
        one.url,
        base_urls=(one.url, two.url),
        key_refs=(None, None),
        weights=(1.0, 1.0),
        price=PRICE,
        retry=Retry(attempts=2),
        hedge=Hedge(quantile=0.5, extra=1.0),
        timeout=Timeouts(total_s=8.0, first_token_s=2.0, idle_s=0.8),
        continuation="on",
    )
    return msgspec.structs.replace(tries, target=msgspec.structs.replace(tries.target, fallbacks=(backup,)))


def asked(rng: random.Random, *, well: bool) -> dict[str, Any]:
    """A call's body; what it says tells the provider what to do."""
    fault = "ok" if well else rng.choice(FAULTS)
    words = 1 if well else rng.randint(1, 30)
    told = {"fault": fault, "words": words, "for_s": LATE_S, "after": rng.randint(0, 5)}
    if rng.random() < 0.5:
        told |= {"first": 1}  # well, when it is asked again
    stream = rng.random() < 0.6
    return {
        "model": "gpt-4o",
        "stream": stream,
        "max_tokens": rng.choice([5, 40]),
        "messages": [{"role": "user", "content": f"fake:{json.dumps(told)}"}],
    }


def call(gateway: Gateway, number: int) -> bool:
    """One call, whose client may leave in the midst of it; whether the budget refused it for good."""
    rng = random.Random(SEED + number)
    body = json.dumps(asked(rng, well=number < WELL)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
        )
        said = b""
        if number >= WELL and rng.random() < 0.2:
            client.settimeout(rng.choice([0.01, 0.1, 0.2]))
        try:
            while piece := client.recv(65_536):
                said += piece
        except TimeoutError:
            pass  # and is gone
        return b'"budget_exceeded"' in said


def test_spend_is_what_records_say_and_no_more_than_is_under_way(
    provider: FakeProvider, own_root: Path
) -> None:
    """Each record's cost is that of its attempts; all of them together are what the budget counts, to the
    last part; and that goes beyond the budget by the calls under way at most."""
    key = ApiKey(name="app", sha256=hash_key(KEY), created_at=datetime.now(UTC), budget=Budget(usd=BUDGET))
    with FakeProvider() as other, Gateway(own_root, plan(provider, other), keys=(key,)) as gateway:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            refused = False
            for first in range(0, CALLS_MAX, AT_ONCE):
                refused |= any(pool.map(lambda n: call(gateway, n), range(first, first + AT_ONCE)))
                if refused:
                    break
        opened = until(lambda: _all_closed(gateway))
        costs = []
        for closed in opened.values():
            cost = Decimal(str(closed["cost_usd"]))
            attempts = [each["cost_usd"] for each in closed["attempts"] if each["cost_usd"] is not None]
            assert cost == sum(Decimal(str(each)) for each in attempts), closed
            costs.append(cost)
        spent = sum(costs, Decimal())
        whys = {each["why"] for closed in opened.values() for each in closed["attempts"]}
        assert {"first", "retry", "hedge", "fallback", "continuation"} <= whys, (SEED, whys)
        assert {"ok", "error", "cancelled"} <= {closed["status"] for closed in opened.values()}
        assert BUDGET <= spent < BUDGET + sum(sorted(costs)[-AT_ONCE:]), SEED
        last = gateway.chat().json()["error"]
        assert last["code"] == "budget_exceeded"
        assert f"has spent {money(spent)} of {money(BUDGET)} USD" in last["message"], SEED


def _all_closed(gateway: Gateway) -> dict[str, Any] | None:
    opened, closed = gateway.frames()
    return closed if opened.keys() == closed.keys() else None
