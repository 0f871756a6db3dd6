"""Under `auto` a model must have shown that it goes on before its words are joined to anybody's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry, Timeouts
from airboss.gateway.prefill import COUNT_BEGUN, counted_on
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.test_continuation import SAID, said, with_fallback
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment, hasty

CUT = f"cut-reset;after=5;text={SAID}"
TOGETHER = f"{CUT};first_token_s=0.4"
"""Long enough for all of them to be under way on most machines."""
CALLERS = [f"caller{number}" for number in range(8)]
"""What each of them says: on a busy machine one may come after the question of another, and breaks too."""
MODELS = [f"m{number}" for number in range(20)]
"""Each test takes fresh ones: what is learned of a model is kept."""


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider, backup: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A worker with many models of one compatible server, and one that has an Anthropic behind it."""
    made: dict[str, Any] = {"price": PRICE, "retry": Retry(attempts=1), "aliases": ()}
    made["timeout"] = PATIENT
    plans = [deployment(fake_process.url, name=name, upstream_model=name, **made) for name in MODELS]
    gone = deployment(fake_process.url, name="gone", upstream_model="gone", **made)
    root = backup.url.removesuffix("/v1")
    claude = with_fallback(gone, f"{root}/v1", kind="anthropic", continuation="auto")
    plan = deployment(fake_process.url, name="up", upstream_model="hasty", **made)
    hurried = hasty(plan, Timeouts(total_s=2.0, first_token_s=2.0, idle_s=2.0))
    with Gateway(tmp_path_factory.mktemp("prefill") / "g", *plans, claude, hurried) as running:
        yield running


@pytest.fixture(scope="module")
def backup() -> Iterator[FakeProvider]:
    """Another provider that says the same."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, provider: FakeProvider, backup: FakeProvider) -> Gateway:
    """The module's worker, both providers as they were when they began."""
    backup.reset()
    return shared


fresh = iter(MODELS)


@pytest.fixture
def model() -> str:
    """A model that nothing is known of."""
    return next(fresh)


def broke(gateway: Gateway, response: httpx2.Response) -> bool:
    """Whether a stream ended with an error, and its record says so after one attempt."""
    end = gateway.closed(response.headers["x-request-id"])
    last = json.loads(response.text.rstrip().split("\n\n")[-1].removeprefix("data: "))
    told = "[DONE]" not in response.text and last["error"]["code"] == end["error_type"]
    return bool(told and end["status"] == "error" and len(end["attempts"]) == 1)


def test_it_is_asked_once_and_then_goes_on(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """The question is none of the call's attempts; the next break needs it no more."""
    for tries, steps in ((3, (CUT, "ok", f"ok;text={SAID}")), (2, (CUT, f"ok;text={SAID}"))):
        provider.reset()
        provider.script(*steps)
        response = gateway.chat(model=model, stream=True)
        assert said(response) == SAID
        assert provider.stats().requests == tries
        end = gateway.closed(response.headers["x-request-id"])
        assert [each["why"] for each in end["attempts"]] == ["first", "continuation"]


def test_how_it_is_asked(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """As it will be asked to go on, and for little."""
    provider.script(CUT, ScriptStep(behaviour="refuse-prefill", forever=True))
    gateway.chat(model=model, stream=True)
    asked = json.loads(provider.last().body)
    assert asked["messages"][-1] == {"role": "assistant", "content": COUNT_BEGUN}
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)
    assert asked["max_tokens"] <= 16
    assert not asked.get("stream")


@pytest.mark.parametrize("fault", ["refuse-prefill", "ignore-prefill", f"ignore-prefill;text={SAID}", "html"])
def test_who_does_not_go_on_is_not_asked_to(
    gateway: Gateway, provider: FakeProvider, model: str, fault: str
) -> None:
    """Nothing of another answer reaches the client, and what was learned is kept."""
    for tries in (2, 1):
        provider.reset()
        provider.script(CUT, ScriptStep(behaviour=fault, forever=True))
        assert broke(gateway, gateway.chat(model=model, stream=True))
        assert provider.stats().requests == tries


def test_who_cannot_be_reached_is_left_alone_for_a_while(
    gateway: Gateway, provider: FakeProvider, model: str
) -> None:
    """Where everything breaks at once there is no storm of questions on top."""
    together = [ScriptStep(behaviour=TOGETHER, holding=(each,)) for each in CALLERS]
    provider.script(*together, ScriptStep(behaviour="503", forever=True))
    with ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(lambda each: gateway.chat(each, model=model, stream=True), CALLERS))
    assert all(broke(gateway, each) for each in streams)
    assert provider.stats().requests == 9


def test_streams_that_break_together_ask_once(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """All wait for the one answer, and all go on."""
    provider.script(
        *[ScriptStep(behaviour=TOGETHER, holding=(each,)) for each in CALLERS[:4]],
        ScriptStep(behaviour="ok;delay_s=0.3", holding=("eighteen",)),
        ScriptStep(behaviour=f"ok;text={SAID}", forever=True),
    )
    with ThreadPoolExecutor(4) as pool:
        streams = list(pool.map(lambda each: gateway.chat(each, model=model, stream=True), CALLERS[:4]))
    assert [said(each) for each in streams] == [SAID] * 4
    assert provider.stats().requests == 4 + 1 + 4


def test_a_question_is_not_waited_for_beyond_the_calls_time(gateway: Gateway, provider: FakeProvider) -> None:
    """Nobody knows yet whether it goes on; the call's own deadline holds."""
    provider.script(CUT, ScriptStep(behaviour="silence", forever=True))
    answer = gateway.chat(model="hasty-up", stream=True)
    assert broke(gateway, answer)
    took_ms = gateway.closed(answer.headers["x-request-id"])["latency_ms"]
    assert took_ms < 5_000, "a question may take 5 s, a call 2"


def test_a_raw_prompt_needs_no_question(gateway: Gateway, provider: FakeProvider, model: str) -> None:
    """It has no turns."""
    provider.script("cut-close;after=4;text= a b c d e f", "ok;text= e f")
    with gateway.client() as client:
        response = client.post("/v1/completions", json={"model": model, "prompt": "x", "stream": True})
    assert "[DONE]" in response.text
    assert provider.stats().requests == 2


def test_a_fallback_is_asked_in_its_own_dialect(
    gateway: Gateway, provider: FakeProvider, backup: FakeProvider
) -> None:
    """And goes on with what the first model said."""
    provider.script(CUT, ScriptStep(behaviour="503", forever=True))
    response = gateway.chat(model="gone", stream=True, max_tokens=100)
    assert said(response) == SAID
    assert response.status_code == 200
    assert backup.stats().requests == 2
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["provider"], end["error_type"]) == ("ok", "backup", "answered_by_fallback")


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        ("one, twenty-two, twenty-three", True),
        (" one, twenty-two", True),
        ("one, twenty", True),
        ("One, twenty-two", False),
        ("twenty-one, twenty-two", False),
        ("sixteen, seventeen, eighteen", False),
        (f"{COUNT_BEGUN}one, twenty-two", False),
        ("one moment, please", False),
        ("Here is the count: one, twenty", False),
        ("", False),
    ],
)
def test_what_counts_as_going_on(text: str, goes_on: bool) -> None:
    """The next word's end, and the count after it; no beginning of anything."""
    assert counted_on(text) is goes_on
