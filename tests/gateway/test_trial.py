"""What a candidate breaks is its own: stable's breaker, retries and hedges are for stable's callers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Canary, Limits, Named, Preview, Retry, Served, Target
from airboss.domain.ports import ApiKey
from airboss.domain.release import ModelVersion, Release
from airboss.gateway.breaker import STREAK_MAX
from airboss.gateway.dispatch import Executor
from airboss.governance.keys import hash_key
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from airboss.releases.build import sealed
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.test_continuation import SAID, said
from tests.support.gateway import DIGEST, KEY, Gateway, deployment
from tests.support.wait import until

OWN = "ab_" + "o" * 43
OF = "0197b0f2-6c1e-7cc2-9a3e-0d3a8f1b2c4d"
TESTER, ALWAYS, NEVER = "pat", "al", "ned"
BROKEN = ScriptStep(behaviour="500", forever=True, model="up", holding=("BROKEN",))
TARGET = Target(provider="p", kind="openai-compatible", base_urls=("http://x/v1",), upstream_model="m")


@pytest.fixture
def limits() -> Limits | None:
    """What the deployment of `gateway` has; none unless a test says so."""
    return None


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider, limits: Limits | None) -> Iterator[Gateway]:
    """A worker whose `support` has a candidate of the same model, shown to half of the users, to TESTER and
    as a shadow, and another model to fall back to."""
    model = ModelVersion(provider="fake", kind="openai-compatible", model="up")
    candidate = sealed(Release(digest="", name="next", model=model, prompt="Be BROKEN."))
    fallback = Target(
        provider="fake", kind="openai-compatible", base_urls=(provider.url,), upstream_model="backup"
    )
    plain = deployment(provider.url, name="support", aliases=(), retry=Retry(attempts=3))
    target = msgspec.structs.replace(plain.target, fallbacks=(fallback,))
    served = Served(release=candidate, target=target)
    canary = Canary(rollout="r", served=served, weight=0.5, salt="salt")
    with_both = msgspec.structs.replace(
        plain,
        target=target,
        canary=canary,
        preview=Preview(served=served, users=(TESTER,)),
        always=Named(users=(ALWAYS,)),
        never=Named(users=(NEVER,)),
        shadow=served,
        limits=limits,
    )
    now = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=now),
        ApiKey(name="airboss", sha256=hash_key(OWN), created_at=now, internal=True),
    )
    with Gateway(tmp_path / "gateway", with_both, keys=keys) as running:
        yield running


def ask(gateway: Gateway, user: str, *, shadow: bool = False) -> httpx2.Response:
    """One call of a user, or one that asks the shadow."""
    body = {"model": "support", "user": user, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {OWN if shadow else KEY}"}
    if shadow:
        headers["x-airboss-shadow-of"] = OF
    return httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30.0)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_failing_candidate_sends_nobody_of_stable_elsewhere(
    gateway: Gateway, provider: FakeProvider, shadow: bool
) -> None:
    """Its failures open its own breaker: stable's callers are answered by their own model all the while."""
    provider.script(BROKEN)
    seen: Counter[tuple[str, bool]] = Counter()
    for number in range(60):
        if shadow:
            ask(gateway, f"u{number}", shadow=True)
        for user in (f"u{number}", NEVER):
            answer = ask(gateway, user)
            seen[answer.headers["x-airboss-arm"], "x-airboss-fallback" in answer.headers] += 1
    assert seen.keys() == {("stable", False), ("never", False), ("canary", True)}
    assert min(seen.values()) > 15


def test_a_candidate_that_may_not_go_on_leaves_stable_its_continuation(
    gateway: Gateway, provider: FakeProvider
) -> None:
    """Its parameters may forbid what stable's allow."""
    users = {ask(gateway, f"u{number}").headers["x-airboss-arm"]: f"u{number}" for number in range(20)}
    refused = ScriptStep(behaviour="refuse-prefill", forever=True, model="up")
    for arm, then in (("canary", [refused]), ("stable", ["ok", f"ok;text={SAID}"])):
        provider.reset()
        provider.script(f"cut-reset;after=5;text={SAID}", *then)
        response = gateway.chat(model="support", user=users[arm], stream=True)
        assert response.headers["x-airboss-arm"] == arm
    assert said(response) == SAID
    assert {each["model"] for each in gateway.closed(response.headers["x-request-id"])["attempts"]} == {"up"}


def test_a_failing_candidate_leaves_stable_its_retries(gateway: Gateway, provider: FakeProvider) -> None:
    """However many of its own it has used up."""
    users = {arm: f"u{n}" for n in range(40) if (arm := ask(gateway, f"u{n}").headers["x-airboss-arm"])}
    provider.script(
        ScriptStep(behaviour="429-no-retry-after", forever=True, model="up", holding=("BROKEN",)),
        ScriptStep(behaviour="500", model="up"),
    )
    # A 429 opens no breaker, so that each of these is tried three times.
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda _: ask(gateway, users["canary"]), range(60)))
    before = provider.stats().requests
    answer = ask(gateway, users["canary"])
    assert (answer.headers.get("x-airboss-fallback"), provider.stats().requests - before) == (
        "fake/backup",
        2,
    ), "the candidate's retries are used up"
    answer = ask(gateway, users["stable"])
    assert (answer.status_code, "x-airboss-fallback" in answer.headers) == (200, False)


@pytest.fixture
def patient(tmp_path: Path, provider: FakeProvider) -> Iterator[Gateway]:
    """A worker whose breakers stay open for a minute, and whose model has a fallback."""
    fallback = Target(
        provider="fake", kind="openai-compatible", base_urls=(provider.url,), upstream_model="backup"
    )
    plain = deployment(provider.url)
    plan = msgspec.structs.replace(plain, target=msgspec.structs.replace(plain.target, fallbacks=(fallback,)))
    now = datetime.now(UTC)
    keys = (
        ApiKey(name="app", sha256=hash_key(KEY), created_at=now),
        ApiKey(name="airboss", sha256=hash_key(OWN), created_at=now, internal=True),
    )
    options = ("--set=gateway.breaker:OPEN_S=60",)
    with Gateway(tmp_path / "patient", plan, keys=keys, options=options) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["500", "429;code=insufficient_quota"])
def test_a_test_that_is_answered_closes_everybodys_breaker(
    patient: Gateway, provider: FakeProvider, fault: str, stream: bool
) -> None:
    """Of our own calls only one that says so; one that fails closes and opens nothing, and an app's key may
    not ask for it."""

    def falls_back() -> bool:
        return "x-airboss-fallback" in patient.chat().headers

    def named(key: str, **more: str) -> httpx2.Response:
        body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        headers = {"authorization": f"Bearer {key}", "x-airboss-release": DIGEST, **more}
        return httpx2.post(f"{patient.url}/v1/chat/completions", json=body, headers=headers, timeout=30.0)

    test = {"x-airboss-test": "1"}
    down = ScriptStep(behaviour=fault, forever=True, model="up")
    provider.script(down)
    for _ in range(STREAK_MAX):
        assert falls_back()
    assert "x-airboss-fallback" in named(OWN, **test).headers
    provider.script()
    assert falls_back(), "its breaker is open"
    assert named(KEY, **test).status_code == 403
    assert "x-airboss-fallback" not in named(OWN).headers
    assert falls_back(), "an evaluation's answer is none of stable's"
    assert "x-airboss-fallback" not in named(OWN, **test).headers
    assert not falls_back()


def test_both_are_shown_as_one_place() -> None:
    """Attempts of both are counted together; the breaker shown is the one that stable's callers meet."""
    places = Executor(Pools(Outbox()), rng=random.Random(1)).places
    (trial,), (own,) = places.of(TARGET, trial=True), places.of(TARGET)
    assert trial is not own
    assert places.of(TARGET, trial=True) == (trial,)
    for _ in range(STREAK_MAX):
        trial.breaker.failed(0.0)
        trial.failed_with("upstream_error")
    own.ended(0.0, 0.0, stream=False, well=True)
    (use,) = places.uses(0.0, datetime(2026, 11, 24, tzinfo=UTC))
    assert (use.state, use.answered, use.failed, use.failures) == (0, 1, 5, {"upstream_error": 5})
    assert (use.in_vain_at, use.failed_at) == (None, None)
    places.keep([TARGET])
    assert len(list(places)) == 2
    places.keep([])
    assert list(places) == []


@pytest.mark.parametrize("arm", ["canary", "preview", "always"])
@pytest.mark.parametrize("limits", [Limits(concurrency=4)])
def test_a_candidate_that_hangs_leaves_stable_half_of_its_share(
    gateway: Gateway, provider: FakeProvider, arm: str
) -> None:
    """Of four places it has three; who is on it and finds none is told so, and stable is served at once."""
    names = [TESTER, ALWAYS, *(f"u{n}" for n in range(40))]
    users = {ask(gateway, name).headers["x-airboss-arm"]: name for name in names}
    provider.script(ScriptStep(behaviour="ok;delay_s=2", forever=True, model="up", holding=("BROKEN",)))
    with ThreadPoolExecutor(6) as several:
        hanging = [several.submit(ask, gateway, users[arm]) for _ in range(6)]
        until(lambda: sum(each.done() for each in hanging) >= 3)
        assert {ask(gateway, user).status_code for user in (users["stable"], NEVER)} == {200}
        answers = [each.result() for each in hanging]
    assert Counter(each.status_code for each in answers) == {200: 3, 429: 3}
    refused = next(each for each in answers if each.status_code == 429).json()["error"]["message"]
    assert "the candidate of 'support' has 3 calls under way" in refused
    assert "raise limits.concurrency under [deployments.support]" in refused
    assert ask(gateway, users[arm]).status_code == 200


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=10)])
def test_a_shadow_leaves_half_of_every_limit_to_callers(gateway: Gateway) -> None:
    """It is asked while five of ten requests are left, and no more then."""
    for number in range(4):
        assert ask(gateway, f"u{number}").status_code == 200
    assert ask(gateway, "u", shadow=True).headers["x-airboss-arm"] == "shadow"
    assert ask(gateway, "u", shadow=True).status_code == 200
    refused = ask(gateway, "u", shadow=True)
    assert refused.status_code == 429
    assert "a shadow leaves half to callers" in refused.json()["error"]["message"]
    assert [ask(gateway, f"v{number}").status_code for number in range(5)] == [200, 200, 200, 200, 429]
