"""Calls that models of several providers share by weight: which of them gets one, and what is told of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import DeploymentPlan, ServingPlan, Target
from airboss.domain.request import InferenceRequest, Principal
from airboss.gateway import wire
from airboss.gateway.dispatch import Executor
from airboss.gateway.serving import Branch, branch_of
from airboss.gateway.spread import drawn
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from airboss.testing import FakeProvider
from tests.gateway.limited import START
from tests.support.gateway import Gateway
from tests.support.spoken import say
from tests.support.spreads import CLAUDE, MODEL, OURS, SAID, Shared, claude, plain, spread

CALLS = 200
BODY = wire.parse_body("chat", b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')


@pytest.fixture(scope="module")
def other() -> Iterator[FakeProvider]:
    """The other provider."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, other: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """A worker with deployments that are shared one to one, and three to one."""
    plans = [
        spread(plain(fake_process.url, "half"), claude(other.url), shares=(0.5, 0.5)),
        spread(plain(fake_process.url, "most"), claude(other.url), shares=(0.75, 0.25)),
    ]
    with Shared(tmp_path_factory.mktemp("spread"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Shared, provider: FakeProvider, other: FakeProvider) -> Shared:
    """The module's worker, both providers as they were when they began."""
    other.reset()
    assert provider.url
    return shared


def test_calls_are_shared_by_weight(gateway: Gateway, provider: FakeProvider, other: FakeProvider) -> None:
    """Each goes to one model, whose name the answer and the record have; the shares come out."""
    seen: Counter[str] = Counter()
    for _ in range(CALLS):
        response = gateway.chat(model="most")
        assert response.status_code == 200, response.text
        assert "x-airboss-fallback" not in response.headers
        seen[response.headers[MODEL]] += 1
        end = gateway.closed(response.headers["x-request-id"])
        assert (end["error_type"], len(end["attempts"])) == (None, 1)
        at, opened = end["attempts"][0], gateway.frames()[0][end["id"]]
        assert f"{at['provider']}/{at['model']}" == response.headers[MODEL]
        assert (opened["provider"], opened["model"]) == (at["provider"], at["model"])
    assert seen == {OURS: provider.stats().requests, CLAUDE: other.stats().requests}
    # Of 200 at 3 to 1 the standard deviation is 6.1: outside of this once in 10^5 runs.
    assert 150 - 27 <= seen[OURS] <= 150 + 27, seen


def test_a_session_stays_with_one_model(gateway: Shared) -> None:
    """So do calls with one `prompt_cache_key`; those of others go to either."""
    for model in (OURS, CLAUDE):
        assert {gateway.drawn_for(model).headers[MODEL] for _ in range(8)} == {model}
    keyed = [
        {gateway.chat(model="half", prompt_cache_key=f"k{n}").headers[MODEL] for _ in range(3)}
        for n in range(20)
    ]
    assert [len(each) for each in keyed] == [1] * 20
    assert set.union(*keyed) == {OURS, CLAUDE}


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_a_conversation_in_a_providers_words_stays_with_one_model(gateway: Shared, dialect: str) -> None:
    """Its provider may have signed, or sealed, a part that no other takes."""
    met = set()
    for number in range(16):
        first = say(gateway, dialect, f"question {number}", model="half")
        turns = [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": "So it is."},
            {"role": "user", "content": "And then?"},
        ]
        more: Any = {"messages": turns} if dialect == "messages" else {"input": turns}
        second = say(gateway, dialect, model="half", **more)
        assert second.headers[MODEL] == first.headers[MODEL], number
        if dialect == "responses":
            said = {"input": "And then?", "previous_response_id": first.json()["id"]}
            third = say(gateway, dialect, model="half", **said)
            assert third.headers[MODEL] == first.headers[MODEL]
        met.add(first.headers[MODEL])
    assert met == {OURS, CLAUDE}


def test_our_own_calls_are_shared_too(gateway: Shared) -> None:
    """A stream, a long call and a whole one are drawn alike."""
    for model in (OURS, CLAUDE):
        long = gateway.drawn_for(model, messages=[{"role": "user", "content": "x" * 40_000}])
        stream = gateway.drawn_for(model, stream=True)
        assert (long.headers[MODEL], stream.headers[MODEL]) == (model, model)


def _branch(shares: tuple[float, ...]) -> Branch:
    """A spread of so many models."""
    one, *others = [
        Target(
            provider=f"p{at}",
            kind="openai-compatible",
            base_urls=(f"http://127.0.0.1:{at + 1}/v1",),
            upstream_model="m",
        )
        for at in range(len(shares))
    ]
    plan: DeploymentPlan = spread(plain(one.base_urls[0], "d"), *others, shares=shares)
    target = msgspec.structs.replace(one, fallbacks=plan.target.fallbacks, shares=shares)
    serving = ServingPlan(number=1, created_at=START, deployments=(plan,))
    return branch_of(serving, "stable", plan.stable, target)


def _request(id_: str, session: str | None = None) -> InferenceRequest:
    return InferenceRequest(
        id_, START, Principal(key="k"), "chat", "d", "d", False, False, b"{}", None, session
    )


def test_the_chance_is_right_of_each_place_in_the_order() -> None:
    """The first is drawn by weight, and the second by weight among those that are left."""
    shares, calls = (0.5, 0.3, 0.15, 0.05), 4000
    branch, executor = _branch(shares), Executor(Pools(Outbox()), rng=random.Random(1))
    found = [drawn(executor, branch, _request(f"r{n}"), BODY, None) for n in range(calls)]
    orders = [tuple(one.target.provider for one in (each, *each.members)) for each in found]
    first = Counter(order[0] for order in orders)
    for at, share in enumerate(shares):
        assert abs(first[f"p{at}"] - calls * share) < 5 * (calls * share * (1 - share)) ** 0.5, first
    after = Counter(order[1] for order in orders if order[0] == "p0")
    for at, share in enumerate(shares[1:], 1):
        chance, n = share / (1 - shares[0]), first["p0"]
        assert abs(after[f"p{at}"] - n * chance) < 5 * (n * chance * (1 - chance)) ** 0.5, after
    executor.close()


def test_shares_that_change_move_few_sessions() -> None:
    """A session that moves goes to the model that gets more; none goes the other way."""
    executor = Executor(Pools(Outbox()), rng=random.Random(1))
    before, now = _branch((0.75, 0.25)), _branch((0.5, 0.5))
    moved: Counter[tuple[str, str]] = Counter()
    for n in range(1000):
        asked = _request("r", session=f"s{n}")
        one, two = (drawn(executor, each, asked, BODY, None).target.provider for each in (before, now))
        moved[one, two] += 1
    assert moved["p1", "p0"] == 0
    assert 180 < moved["p0", "p1"] < 320, moved
    executor.close()


def test_the_models_list_tells_each(gateway: Shared) -> None:
    """A caller who asks what models cost is told it of each that may answer."""
    with gateway.client() as client:
        told = client.get("/v1/models/most?details=true").json()
    assert [(each["provider"], each["model"], each["share"]) for each in told["shares"]] == [
        ("fake", "up", 0.75),
        ("claude", "sonnet", 0.25),
    ]
    assert told["price"] == told["shares"][0]["price"] is not None
    assert told["context_tokens"] is None


def test_a_model_that_is_no_spread_tells_nothing_of_that(gateway: Shared, fake_process: FakeProvider) -> None:
    """Its branch is what it was: the first attempt is made without a task, and no line is added."""
    branch = branch_of(
        ServingPlan(number=1, created_at=START, deployments=()),
        "stable",
        plain(fake_process.url, "d").stable,
        plain(fake_process.url, "d").target,
    )
    assert (branch.members, branch.whole) == ((), None)
    assert MODEL.encode() not in branch.headers
