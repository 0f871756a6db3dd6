"""What models that share calls differ in: what they can say, what they cost, and whose vectors they make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import Budget, Caching, Price, Target
from airboss.gateway.held import Held
from airboss.gateway.serving import Branch
from airboss.governance.policies import policy_of
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.limited import House, body, came_in, closed, run
from tests.support.gateway import PRICE
from tests.support.spreads import CLAUDE, MODEL, OURS, SAID, Shared, claude, plain, spread

DEAR = Price(input_usd_per_mtok=Decimal(1000), output_usd_per_mtok=Decimal(5000))


@pytest.fixture(scope="module")
def other() -> Iterator[FakeProvider]:
    """The other provider."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, other: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """A worker whose deployments are shared one to one."""

    def shares(name: str, one: Target, **changes: Any) -> Any:
        return spread(plain(fake_process.url, name, **changes), one, shares=(0.5, 0.5))

    elsewhere = Target(
        provider="azure",
        kind="openai-compatible",
        base_urls=(other.url,),
        upstream_model="up",
        price=PRICE,
        continuation="off",
    )
    plans = [
        shares("half", claude(other.url)),
        shares("theirs", claude(other.url), kind="openai"),
        shares("drops", claude(other.url, drop_unsupported=True)),
        shares("dear", claude(other.url, price=DEAR)),
        shares("vectors", elsewhere),
        shares("cached", claude(other.url), cache=Caching()),
        shares("blocks", claude(other.url), policy=policy_of("block", ("email",))),
        spread(
            plain(other.url, "only-claude", kind="anthropic", provider="claude", upstream_model="sonnet"),
            claude(other.url, upstream_model="haiku"),
            shares=(0.5, 0.5),
        ),
    ]
    with Shared(tmp_path_factory.mktemp("spread"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Shared, provider: FakeProvider, other: FakeProvider) -> Shared:
    """The module's worker, both providers as they were when they began."""
    shared.session(OURS)
    provider.reset()
    other.reset()
    return shared


def test_a_model_that_cannot_say_a_call_is_passed_over(gateway: Shared, other: FakeProvider) -> None:
    """The other is asked, at once and with no error; where none can, the caller is told as ever."""
    several: dict[str, Any] = {"n": 2, "logprobs": True}
    response = gateway.drawn_for(CLAUDE, **several)
    assert (response.status_code, response.headers[MODEL]) == (200, OURS)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["error_type"], len(end["attempts"])) == (None, 1)
    refused = gateway.chat(model="only-claude", **several)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_by_provider")
    assert MODEL not in refused.headers
    assert other.stats().requests == 0
    dropped = gateway.drawn_for(CLAUDE, "drops", **several)
    assert (dropped.headers[MODEL], "n" in dropped.headers["x-airboss-dropped"]) == (CLAUDE, True)


@pytest.mark.parametrize(("model", "kept"), [("theirs", False), ("half", True)])
def test_what_another_said_is_not_sent_to_who_refuses_it(
    gateway: Shared, provider: FakeProvider, model: str, kept: bool
) -> None:
    """Clients send an answer back as it came. OpenAI refuses a request for Claude's thoughts in it, or for
    Gemini's signature of a call; servers that pass over what they do not know have all of it."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    signed = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}
    turn = {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call | signed]}
    turn["thinking_blocks"] = [{"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}]
    said = [{"role": "user", "content": "hi"}, turn, {"role": "tool", "tool_call_id": "c", "content": "ok"}]
    response = gateway.chat(model=model, messages=said, n=2, logprobs=True)  # which Claude cannot say
    assert (response.status_code, response.headers[MODEL]) == (200, OURS)
    sent = json.loads(provider.last().body)["messages"]
    plain_turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert sent == (said if kept else [said[0], plain_turn, said[2]])


def test_a_call_of_the_other_dialect_is_asked_after_the_first(
    gateway: Shared, provider: FakeProvider
) -> None:
    """What only the failing model can say ends with its error: nobody else could."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    response = gateway.drawn_for(OURS, logprobs=True)
    assert response.status_code >= 500
    end = gateway.closed(response.headers["x-request-id"])
    assert {each["provider"] for each in end["attempts"]} == {"fake"}


def test_vectors_of_different_models_do_not_mix(gateway: Shared) -> None:
    """Such a call is refused; one model at two providers makes the same vectors."""
    with gateway.client() as client:
        mixed = client.post("/v1/embeddings", json={"model": "half", "input": "hi"})
        same = client.post("/v1/embeddings", json={"model": "vectors", "input": "hi"})
    assert (mixed.status_code, mixed.json()["error"]["code"]) == (400, "embeddings_do_not_mix")
    assert same.status_code == 200, same.text


def test_what_has_a_place_at_one_provider_stays_there(gateway: Shared, other: FakeProvider) -> None:
    """Files of a deployment that is shared are at the first model's provider, whoever is drawn for calls."""
    with gateway.client() as client:
        answers = [client.get("/v1/files", headers={"x-airboss-deployment": "vectors"}) for _ in range(12)]
    assert {each.headers[MODEL] for each in answers} == {OURS}
    assert other.stats().requests == 0


def test_a_call_that_is_passed_on_goes_to_one_that_has_it(gateway: Shared) -> None:
    """Speech is asked of a model that speaks OpenAI's dialect, however it is drawn."""
    with gateway.client() as client:
        said = {"model": "half", "input": "hi", "voice": "alloy"}
        answers = [client.post("/v1/audio/speech", json=said) for _ in range(12)]
    assert {(each.status_code, each.headers.get(MODEL)) for each in answers} == {(200, OURS)}


def test_a_budget_holds_back_what_the_dearest_may_cost() -> None:
    """Whoever is drawn: ten calls of the cheap one are under way at once, and two of both."""
    house = House(budget=Budget(usd=Decimal("0.001")))
    dear = Price(input_usd_per_mtok=Decimal(5), output_usd_per_mtok=Decimal(5))
    cheap = house.deployments["d"].target
    other = msgspec.structs.replace(cheap, provider="q", price=dear)
    nobody = msgspec.structs.replace(cheap, provider="q", price=None)

    def branch(one: Target) -> Branch:
        house.deployments["d"] = spread(house.deployments["d"], one, shares=(0.5, 0.5))
        return house.branch()

    async def under_way(branch: Branch) -> tuple[int, str | None]:
        inside: list[Held] = []
        refused = None
        while refused is None and len(inside) < 50:
            inside.append(held := await came_in(house))
            refused = await held.reserve(body(max_tokens=90), branch)
        for held in inside:
            held.settle(closed())
        return len(inside), refused.code if refused is not None else None

    async def body_() -> None:
        alone = await under_way(branch(cheap))
        for member in branch(other).members:
            assert await under_way(member) == (3, "budget_reserved")
        assert alone == (11, "budget_reserved")
        for member in branch(nobody).members:
            assert await under_way(member) == (1, "price_unknown")

    run(body_())


def test_each_answer_costs_what_its_model_costs(gateway: Shared) -> None:
    """By the price of the one that answered."""
    costs = {}
    for model in (OURS, CLAUDE):
        end = gateway.closed(gateway.drawn_for(model, "dear").headers["x-request-id"])
        costs[model] = end["cost_usd"] / (end["input_tokens"] + end["output_tokens"])
    assert costs[CLAUDE] > 100 * costs[OURS]


def test_an_answer_of_any_is_kept_for_all(
    gateway: Shared, provider: FakeProvider, other: FakeProvider
) -> None:
    """The same question has the same answer from the cache, whoever is drawn for it; the record says whose
    it is."""
    first = gateway.drawn_for(CLAUDE, "cached")
    second = gateway.drawn_for(OURS, "cached")
    assert second.json()["choices"] == first.json()["choices"]
    assert second.headers["x-airboss-cache"] == "hit"
    assert MODEL not in second.headers  # nobody was asked
    hit = gateway.closed(second.headers["x-request-id"])
    assert (hit["cache"], hit["provider"], hit["model"]) == ("hit", "claude", "sonnet")
    assert (provider.stats().requests, other.stats().requests) == (0, 1)


def test_who_is_refused_by_a_policy_is_told_no_model(gateway: Shared) -> None:
    """One was drawn, and none was asked."""
    refused = gateway.chat("write to ann@example.com", model="blocks")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_policy")
    assert MODEL not in refused.headers
    assert MODEL in gateway.chat("write to Ann", model="blocks").headers


def test_tokens_are_counted_as_of_the_one_that_is_drawn(gateway: Shared, other: FakeProvider) -> None:
    """Its provider is asked where it counts, and a count is told as an estimate where it does not."""
    asked = {"model": "half", "messages": [{"role": "user", "content": "hi"}]}
    with gateway.client() as client:
        for number in range(16):
            body = asked | {"messages": [{"role": "user", "content": f"question {number}"}]}
            answer = client.post("/v1/messages/count_tokens", json=body)
            assert answer.status_code == 200, answer.text
    assert 0 < other.stats().requests < 16
