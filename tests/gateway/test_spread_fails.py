"""One of several models that share calls fails: the others answer, and it is no error of the release."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import msgspec
import pytest

from airboss.domain.plan import Retry, Target, Timeouts
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import PRICE, Gateway, hasty
from tests.support.spreads import CLAUDE, MODEL, OURS, SAID, Shared, claude, plain, spread, streamed
from tests.support.wait import until

TIMES = Timeouts(total_s=6.0, first_token_s=2.0, idle_s=2.0)
FAILS = [
    "429-no-retry-after",
    "503",
    "status;status=401",
    "reset",
    "silence",
    "cut-reset;after=0",
    "context-length",
    "error-200",
]


@pytest.fixture(scope="module")
def other() -> Iterator[FakeProvider]:
    """The other provider."""
    with FakeProvider(default=f"ok;text={SAID}") as running:
        yield running


@pytest.fixture(scope="module")
def spare() -> Iterator[FakeProvider]:
    """A fallback."""
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def shared(
    fake_process: FakeProvider,
    other: FakeProvider,
    spare: FakeProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shared]:
    """A worker whose deployments are shared one to one, with and without a fallback."""
    half = spread(plain(fake_process.url, "half"), claude(other.url), shares=(0.5, 0.5))
    last = Target(
        provider="spare",
        kind="openai-compatible",
        base_urls=(spare.url,),
        upstream_model="spare",
        price=PRICE,
    )
    plans = [
        half,
        hasty(half, TIMES),
        hasty(spread(plain(fake_process.url, "behind"), claude(other.url), shares=()), TIMES),
        msgspec.structs.replace(half, name="once", retry=Retry(attempts=1)),
        spread(plain(fake_process.url, "backed"), claude(other.url), last, shares=(0.5, 0.5)),
        spread(
            plain(fake_process.url, "goes-on", continuation="on"),
            claude(other.url, kind="openai-compatible", continuation="on"),
            shares=(0.5, 0.5),
        ),
    ]
    with Shared(tmp_path_factory.mktemp("spread"), *plans) as running:
        yield running


@pytest.fixture
def gateway(shared: Shared, provider: FakeProvider, other: FakeProvider) -> Shared:
    """The module's worker, all as it was when it began, with nothing against anybody."""
    shared.settle(provider, other)
    return shared


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAILS)
def test_the_other_model_answers(gateway: Shared, provider: FakeProvider, fault: str, stream: bool) -> None:
    """The client has its whole answer and its name, the record every attempt and no error."""
    provider.script(ScriptStep(behaviour=fault, forever=True))
    model = "hasty-half" if fault == "silence" else "half"
    response = gateway.drawn_for(OURS, model, stream=stream)
    assert response.status_code == 200, response.text
    said = streamed(response.text) if stream else response.json()["choices"][0]["message"]["content"]
    assert said == SAID
    assert (response.headers[MODEL], response.headers.get("x-airboss-fallback")) == (CLAUDE, None)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("ok", None)
    assert (end["provider"], end["model"]) == ("claude", "sonnet")
    first, *_, last = end["attempts"]
    assert first["error_type"] is not None
    assert (last["why"], last["error_type"], last["model"]) == ("retry", None, "sonnet")
    assert end["cost_usd"] == pytest.approx(sum(each["cost_usd"] or 0 for each in end["attempts"]))


def test_a_model_that_is_down_is_left_alone(gateway: Shared, provider: FakeProvider) -> None:
    """With its breaker open its calls go to the other at once; when it is back it has its share again."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    while len(gateway.closed(gateway.drawn_for(OURS).headers["x-request-id"])["attempts"]) > 1:
        pass
    before = provider.stats().requests
    for _ in range(5):
        end = gateway.closed(gateway.drawn_for(OURS).headers["x-request-id"])
        if len(end["attempts"]) == 1:
            assert (end["error_type"], end["attempts"][0]["model"]) == (None, "sonnet")
    assert provider.stats().requests <= before + 3, "it is asked whether it is back, and no more"
    provider.reset()
    until(lambda: gateway.drawn_for(OURS).headers[MODEL] == OURS)


@pytest.mark.parametrize("model", ["half", "once"])
def test_a_model_that_says_when_to_come_back_is_left_alone_until_then(
    gateway: Shared, provider: FakeProvider, model: str
) -> None:
    """Its calls go to the other at once meanwhile, however often they may be tried, and to it again after."""
    provider.script(ScriptStep(behaviour="429;retry_after=3"))
    first = gateway.drawn_for(OURS, model)
    second = gateway.drawn_for(OURS, model)
    ends = [gateway.closed(each.headers["x-request-id"]) for each in (first, second)]
    assert [len(each["attempts"]) for each in ends] == [2, 1]
    assert (first.headers[MODEL], second.headers[MODEL]) == (CLAUDE, CLAUDE)
    until(lambda: gateway.drawn_for(OURS).headers[MODEL] == OURS)


@pytest.mark.parametrize("fault", ["status;status=400", "status;status=422", "content-filter"])
def test_the_callers_mistake_is_told(gateway: Shared, provider: FakeProvider, fault: str) -> None:
    """A 400 is the caller's to mend and a filter's word is passed on: nobody else is asked."""
    provider.script(ScriptStep(behaviour=fault, forever=True))
    response = gateway.drawn_for(OURS)
    assert response.status_code in {400, 422}
    assert response.headers[MODEL] == OURS
    assert len(gateway.closed(response.headers["x-request-id"])["attempts"]) == 1


def test_where_all_fail_the_fallback_answers(
    gateway: Shared, provider: FakeProvider, other: FakeProvider
) -> None:
    """That is an error of the release as ever; without one the first's error is told."""
    provider.script(ScriptStep(behaviour="status;status=401", forever=True))
    other.script(ScriptStep(behaviour="status;status=403", forever=True))
    response = gateway.drawn_for(CLAUDE, "backed")
    assert response.status_code == 200, response.text
    assert (response.headers["x-airboss-fallback"], MODEL in response.headers) == ("spare/spare", False)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["error_type"], end["provider"]) == ("answered_by_fallback", "spare")
    assert [(each["provider"], each["why"]) for each in end["attempts"]] == [
        ("claude", "first"),
        ("fake", "retry"),
        ("spare", "fallback"),
    ]
    alone = gateway.drawn_for(CLAUDE)
    assert alone.status_code >= 400
    end = gateway.closed(alone.headers["x-request-id"])
    assert (end["status"], [each["provider"] for each in end["attempts"]]) == ("error", ["claude", "fake"])


@pytest.mark.parametrize("model", ["hasty-half", "hasty-behind"])
@pytest.mark.parametrize("own", [None, "2"], ids=["total", "own"])
def test_where_the_time_is_over_that_is_told(
    gateway: Shared, provider: FakeProvider, other: FakeProvider, model: str, own: str | None
) -> None:
    """Not how the first failed: whoever was asked after it might have answered. So it is with one that shares
    the calls and with a fallback, and where its client was impatient it speaks against nobody."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    other.script(ScriptStep(behaviour="silence", forever=True))
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "metadata": {"session_id": gateway.session(OURS)},
    }
    headers = {} if own is None else {"x-airboss-timeout-s": own}
    with gateway.client() as client:
        response = client.post("/v1/chat/completions", json=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout_total")
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"]) == ("error" if own is None else "cancelled", "timeout_total")
    assert [each["provider"] for each in end["attempts"]] == ["fake", "fake", "claude"]


def test_a_stream_that_breaks_off_is_gone_on_with_by_the_other(
    gateway: Shared, provider: FakeProvider, other: FakeProvider
) -> None:
    """One answer with both parts, by a model that shares the calls: no error of the release."""
    cut = ScriptStep(behaviour=f"cut-reset;after=3;text={SAID}")
    provider.script(cut, ScriptStep(behaviour="503", forever=True))
    response = gateway.drawn_for(OURS, "goes-on", stream=True)
    assert response.text.endswith("data: [DONE]\n\n"), response.text
    assert streamed(response.text) == SAID
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"], end["provider"]) == ("ok", None, "claude")
    assert (end["attempts"][0]["why"], end["attempts"][-1]["why"]) == ("first", "continuation")
    assert other.stats().requests == 1


def test_a_killed_gateway_leaves_what_was_drawn(gateway: Shared, provider: FakeProvider) -> None:
    """The open frame names the model that was asked, by which an interrupted call is told."""
    provider.script(ScriptStep(behaviour="silence", forever=True))
    body = {
        "model": "half",
        "messages": [{"role": "user", "content": "hi"}],
        "metadata": {"session_id": gateway.session(OURS)},
    }
    known = set(gateway.frames()[0])

    def asked() -> bool:
        return bool(set(gateway.frames()[0]) - known) and provider.stats().in_flight > 0

    def killed() -> bool:
        if not asked():
            return False
        gateway.kill()
        return True

    gateway.leave("/v1/chat/completions", body, once=killed)
    ((_, opened),) = [each for each in gateway.frames()[0].items() if each[0] not in known]
    assert (opened["provider"], opened["model"]) == ("fake", "up")
    assert opened["id"] not in gateway.frames()[1]
    assert gateway.process.returncode == -signal.SIGKILL
    gateway.restart()
    until(lambda: _is_up(gateway))


def _is_up(gateway: Gateway) -> bool:
    with gateway.client() as client:
        try:
            return client.get("/readyz").status_code == 200
        except Exception:  # noqa: BLE001 - it is only coming up
            return False
