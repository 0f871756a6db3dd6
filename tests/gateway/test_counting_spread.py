"""Counting for a deployment whose calls several models share: whoever is away, another one counts."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from airboss.domain.plan import DeploymentPlan, Target
from tests.support.gateway import Gateway
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spreads import claude, plain, spread

DRAWN = (0.999999, 0.000001)
"""By which the first model is drawn, whatever is asked."""


@pytest.fixture(scope="module")
def first() -> Iterator[SaidUpstream]:
    """Who is drawn."""
    with said_upstream() as started:
        yield started


@pytest.fixture(scope="module")
def second() -> Iterator[SaidUpstream]:
    """Who is asked after that."""
    with said_upstream() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(
    first: SaidUpstream, second: SaidUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker: of the second models one counts, one does not, and one is a fallback. The first are at a
    provider each: what is told of one speaks against no other."""

    def planned(name: str, other: Target, shares: tuple[float, ...] = DRAWN) -> DeploymentPlan:
        one = plain(first.url, name, kind="anthropic", provider=f"first-{name}")
        return spread(one, other, shares=shares)

    plans = (
        planned("count", claude(second.url)),
        planned("reckon", claude(second.url, kind="openai-compatible")),
        planned("refuse", claude(second.url)),
        planned("behind", claude(second.url), ()),
    )
    with Gateway(tmp_path_factory.mktemp("counting"), *plans) as started:
        yield started


@pytest.fixture(autouse=True)
def away(first: SaidUpstream, second: SaidUpstream) -> None:
    """The first is away, the second is well."""
    first.status, first.body, first.seen[:] = 503, {"error": {"message": "down"}}, []
    second.status, second.body, second.seen[:] = 200, {"input_tokens": 7}, []


def counted(gateway: Gateway, model: str) -> httpx2.Response:
    """The answer to a count."""
    body = {"model": model, "messages": [{"role": "user", "content": "How long is this?"}]}
    with gateway.client() as client:
        return client.post("/v1/messages/count_tokens", json=body)


def test_another_that_shares_the_calls_counts(
    gateway: Gateway, first: SaidUpstream, second: SaidUpstream
) -> None:
    """As it would answer; where it does not count either, the first one's error is told."""
    answer = counted(gateway, "count")
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 7})
    assert "x-airboss-estimated" not in answer.headers
    assert (len(first.seen) > 0, len(second.seen)) == (True, 1)
    second.status, second.body = 429, {"error": {"message": "slow down"}}
    assert counted(gateway, "count").status_code == 503


def test_who_cannot_be_asked_has_it_reckoned(gateway: Gateway, second: SaidUpstream) -> None:
    """The call would go there, so that an estimate is the best that there is."""
    answer = counted(gateway, "reckon")
    assert (answer.status_code, answer.headers.get("x-airboss-estimated")) == (200, "true")
    assert answer.json()["input_tokens"] > 0
    assert second.seen == []


def test_what_is_the_callers_to_mend_is_told(
    gateway: Gateway, first: SaidUpstream, second: SaidUpstream
) -> None:
    """Nobody else is asked."""
    first.status, first.body = 400, {"error": {"message": "no such thing", "type": "invalid_request_error"}}
    assert counted(gateway, "refuse").status_code == 400
    assert second.seen == []


def test_a_fallback_does_not_count(gateway: Gateway, second: SaidUpstream) -> None:
    """It is another model, whose count would be taken for the release's."""
    assert counted(gateway, "behind").status_code == 503
    assert second.seen == []
