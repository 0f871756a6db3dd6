"""Breakers, retry budgets, the choice of a place and the share of hedges, by the second."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import ApiError, PolicyRefused, Unavailable, UpstreamFailed, UpstreamRefused
from airboss.domain.plan import Target
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.breaker import OPEN_S, OPEN_S_MAX, STREAK_MAX, Breaker, RetryBudget
from airboss.gateway.dispatch import Executor
from airboss.gateway.heads import error_lines
from airboss.gateway.hedge import HEDGES_SAVED, Hedges
from airboss.gateway.judge import is_targets_fault, judge, limit_reached
from airboss.gateway.places import Place, choose
from airboss.gateway.trying import note_failure
from airboss.providers.compatible import UpstreamError, as_api_error
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pool, Pools
from airboss.telemetry.metrics import OUT_S

TARGET = Target(provider="p", kind="openai-compatible", base_urls=("http://x/v1",), upstream_model="m")

NOW = datetime(2026, 11, 24, 14, tzinfo=UTC)


def failing(breaker: Breaker, times: int, now: float) -> None:
    """So many failures."""
    for _ in range(times):
        breaker.failed(now)


def test_it_opens_probes_and_closes() -> None:
    """Failures in a row open it; after a while one call at a time goes through; an answer closes it."""
    breaker = Breaker()
    failing(breaker, STREAK_MAX - 1, 0.0)
    assert breaker.state(0.0) == "closed"
    breaker.failed(0.0)
    assert (breaker.state(0.0), breaker.lets_through(0.0)) == ("open", False)
    later = OPEN_S + 0.01
    assert (breaker.state(later), breaker.lets_through(later)) == ("half_open", True)
    breaker.probe(later)
    assert not breaker.lets_through(later)
    breaker.answered()
    assert (breaker.state(later), breaker.lets_through(later)) == ("closed", True)


def test_a_failed_probe_waits_longer_but_not_for_ever() -> None:
    """Each one doubles the wait, up to a bound."""
    breaker, now = Breaker(), 0.0
    failing(breaker, STREAK_MAX, now)
    waits = []
    for _ in range(8):
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at + 0.001
        breaker.probe(now)
        breaker.failed(now)
    assert waits == pytest.approx(sorted(waits))
    assert waits[0] == pytest.approx(OPEN_S)
    assert waits[-1] == pytest.approx(OPEN_S_MAX)


def test_half_of_many_failing_opens_it() -> None:
    """Without any streak: every other call fails."""
    breaker = Breaker()
    for _ in range(30):
        breaker.failed(1.0)
        if breaker.tripped:
            break
        breaker.answered()
    assert breaker.tripped


@given(st.lists(st.booleans(), max_size=200))
def test_a_few_failures_never_open_it(ends: list[bool]) -> None:
    """One in four failing, never five in a row, leaves it closed."""
    breaker = Breaker()
    for number, _ in enumerate(ends):
        if number % 4 == 3:
            breaker.failed(number / 10)
        else:
            breaker.answered()
    assert not breaker.tripped


def test_retries_are_a_share_of_the_calls() -> None:
    """Of a thousand calls in ten seconds 300 retries are made at most, and in the next ten no fresh floor."""
    budget = RetryBudget()
    for number in range(1000):
        budget.call(100 + number / 100)
    made = sum(budget.take(109.99) for _ in range(1000))
    assert 290 <= made <= 301
    assert sum(budget.take(110.01) for _ in range(1000)) <= 5
    assert sum(budget.take(140.0) for _ in range(1000)) == RetryBudget.FLOOR


def places(*weights: float) -> list[Place]:
    """Places by weight."""
    found = []
    for number, weight in enumerate(weights):
        place = Place(TARGET, f"http://{number}/v1", None, cast("Pool", None))
        place.weight = weight
        found.append(place)
    return found


def test_idle_places_get_their_shares() -> None:
    """By weight, to within a few percent."""
    several, rng = places(3, 1, 1), random.Random(5)
    drawn = Counter(choose(several, 0.0, rng).url for _ in range(5000))
    assert [round(drawn[each.url] / 5000, 1) for each in several] == [0.6, 0.2, 0.2]


def test_the_less_busy_of_two_is_taken() -> None:
    """And one that is to be left alone only where there is no other."""
    several, rng = places(1, 1), random.Random(5)
    several[0].outstanding = 3
    assert {choose(several, 0.0, rng) for _ in range(50)} == {several[1]}
    several[1].avoid_until = 5.0
    assert choose(several, 0.0, rng) is several[0]
    failing(several[0].breaker, STREAK_MAX, 0.0)
    assert choose(several, 0.0, rng, but=[several[0]]) is several[1]


def test_alike_calls_go_together_until_that_is_too_many() -> None:
    """A beginning has its place; when that has more than its share, the next one is the same for all too."""
    several, rng = places(1, 1, 1), random.Random(5)
    homes = Counter(choose(several, 0.0, rng, beginning=b"%d" % n).url for n in range(300))
    assert len(homes) == 3
    assert min(homes.values()) > 60
    home = choose(several, 0.0, rng, beginning=b"x")
    assert all(choose(several, 0.0, rng, beginning=b"x") is home for _ in range(20))
    for _ in range(300):
        choose(several, 0.0, rng, beginning=b"x").outstanding += 1
    assert max(each.outstanding for each in several) <= 1.25 * 100 + 2


@pytest.mark.parametrize(("weights", "share"), [((1, 1), 0.5), ((9, 1), 0.9)])
def test_beginnings_are_shared_out_by_weight(weights: tuple[float, ...], share: float) -> None:
    """By address, and between two keys at one."""
    for key_refs in ((None, None), ("env:A", "env:B")):
        several = [
            Place(TARGET, "http://0/v1" if ref else f"http://{weight}{at}/v1", ref, cast("Pool", None))
            for at, (weight, ref) in enumerate(zip(weights, key_refs, strict=True))
        ]
        for place, weight in zip(several, weights, strict=True):
            place.weight = weight
        found = [choose(several, 0.0, random.Random(5), beginning=b"%d" % n) for n in range(2000)]
        assert abs(found.count(several[0]) / 2000 - share) < 0.03


def test_hedges_are_a_share() -> None:
    """One free, then no more than the share."""
    hedges = Hedges()
    made = 0
    for _ in range(1000):
        hedges.calls += 1
        made += hedges.may(0.05)
    assert 50 <= made <= 51


def test_hedges_are_not_hoarded() -> None:
    """After a long time in which none was needed, a provider that is slow is not asked twice by everybody."""
    hedges = Hedges()
    hedges.calls = 1_000_000
    made = 0
    for _ in range(1000):
        hedges.calls += 1
        made += hedges.may(0.05)
    assert 50 <= made <= 50 + HEDGES_SAVED + 1


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (UpstreamRefused("x", upstream_status=400), 400, "caller"),
        (UpstreamRefused("x", upstream_status=400), 200, "caller"),
        (UpstreamRefused("x", upstream_status=400, code="context_length_exceeded"), 400, "elsewhere"),
        (UpstreamRefused("x", upstream_status=400, code="content_policy_violation"), 400, "caller"),
        (UpstreamRefused("x", upstream_status=429), 429, "again"),
        (UpstreamRefused("x", upstream_status=429, code="insufficient_quota"), 429, "elsewhere"),
        (UpstreamFailed("x"), 401, "elsewhere"),
        (UpstreamFailed("x"), 404, "elsewhere"),
        (UpstreamFailed("x"), 301, "elsewhere"),
        (UpstreamFailed("x"), 520, "again"),
        (UpstreamFailed("x"), 501, "elsewhere"),
        (UpstreamFailed("x"), 200, "again"),
        (UpstreamFailed("x"), None, "again"),
        (Unavailable("x", code="provider_key_missing"), None, "elsewhere"),
        (Unavailable("x", code="journal_unwritable"), None, "caller"),
        (Unavailable("x", code="journal_unwritable"), 503, "again"),
        (PolicyRefused("x"), 200, "caller"),
    ],
)
def test_error_classes(error: ApiError, status: int | None, expected: str) -> None:
    """What comes after each."""
    assert judge(error, status) == expected


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 208310 tokens > 200000 maximum",
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
        "Input is too long for requested model.",
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
        "Please reduce the length of the messages or completion.",
    ],
)
def test_a_prompt_that_is_too_long_is_known_in_every_providers_words(message: str) -> None:
    """Whatever it is called, another model may take it."""
    error = as_api_error("p", 400, UpstreamError(message=message, code=None), retry_after_s=None)
    assert error.code == "context_length_exceeded"
    assert judge(error, 400) == "elsewhere"


@pytest.mark.parametrize("message", ["invalid tool schema", "max_tokens must be positive", "no such voice"])
def test_other_mistakes_are_not(message: str) -> None:
    """They stay the caller's."""
    error = as_api_error("p", 400, UpstreamError(message=message), retry_after_s=None)
    assert judge(error, 400) == "caller"


def test_failures_are_counted_by_name_within_bounds() -> None:
    """However many names an upstream has for its errors, and however long."""
    place = Place(TARGET, "http://x/v1", None, cast("Pool", None))
    place.failed_with("timeout_idle")
    for number in range(1000):
        place.failed_with(f"code-{number}" + "x" * 1000)
    place.failed_with("timeout_idle")
    use = place.use(0.0, NOW)
    assert use.failures["timeout_idle"] == 2
    assert sum(use.failures.values()) == 1002
    assert len(use.failures) <= 21
    assert max(map(len, use.failures)) <= 60
    for life in range(10):  # each life of a worker counts in what those before it have seen
        other = Place(TARGET, "http://x/v1", None, cast("Pool", None))
        for number in range(30):
            other.failed_with(f"code-{life}-{number}")
        use.add(other.use(0.0, NOW))
    assert sum(use.failures.values()) == 1302
    assert len(use.failures) <= 21


@pytest.mark.parametrize("code", ["too_many_connections", "provider_key_missing", "journal_unwritable"])
def test_what_is_our_own_fault_opens_no_breaker(code: str) -> None:
    """It is told as the last error, and says nothing of the target: none opens or closes by it."""
    place = Executor(Pools(Outbox()), rng=random.Random(1)).places.of(TARGET)[0]
    answer = WholeAnswer("p")
    for _ in range(2 * STREAK_MAX):
        note_failure(place, answer, Unavailable("x", code=code), str)
    assert (place.breaker.tripped, place.breaker.failed_n, place.failures) == (False, 0, {code: 10})
    for _ in range(STREAK_MAX):
        note_failure(place, answer, UpstreamFailed("x"), str)
    assert place.breaker.tripped
    note_failure(place, answer, Unavailable("x", code=code), str)
    assert place.breaker.tripped


QUOTA = UpstreamRefused("x", upstream_status=429, code="insufficient_quota")
BUSY = UpstreamRefused("x", upstream_status=429, code="rate_limit_exceeded")
WRONG = UpstreamRefused("x", upstream_status=400)
DOWN = UpstreamFailed("x")


def told(place: Place, error: ApiError, times: int, now: float) -> None:
    """So many attempts at a place end so."""
    status = error.upstream_status if isinstance(error, UpstreamRefused) else None
    for _ in range(times):
        place.failed(is_targets_fault(error, status), limit_reached(error), now)


def a_place() -> Place:
    """One that nobody has asked yet."""
    return Place(TARGET, "http://x/v1", None, cast("Pool", None))


@pytest.mark.parametrize(
    ("error", "limited"), [(DOWN, None), (QUOTA, "out_of_quota"), (BUSY, "rate_limited")]
)
def test_a_place_tells_since_when_it_is_out(error: ApiError, limited: str | None) -> None:
    """From the fifth attempt in vain on, however often it is tried; an answer ends that, and is told."""
    place = a_place()
    told(place, error, STREAK_MAX - 1, 9.0)
    assert place.use(100.0, NOW).in_vain_at is None
    told(place, error, 1, 10.0)
    told(place, error, 1, 80.0)
    use = place.use(100.0, NOW)
    assert (use.in_vain_at, use.failed_at, use.answered_at, use.limited) == (
        NOW - timedelta(seconds=90),
        NOW - timedelta(seconds=20),
        None,
        limited,
    )
    place.breaker.answered()
    place.ended(110.0, 109.0, stream=False, well=True)
    use = place.use(120.0, NOW)
    assert (use.in_vain_at, use.answered_at, use.limited) == (None, NOW - timedelta(seconds=10), None)
    told(place, error, STREAK_MAX, 115.0)
    assert place.use(120.0, NOW).in_vain_at == NOW - timedelta(seconds=5)


@pytest.mark.parametrize(("error", "opens"), [(DOWN, True), (QUOTA, True), (BUSY, False)])
def test_what_no_wait_mends_opens_a_breaker(error: ApiError, opens: bool) -> None:
    """A place that is out of quota is left alone; one that only says when to come back is not."""
    place = a_place()
    told(place, error, 3 * STREAK_MAX, 10.0)
    assert place.breaker.tripped is opens


@pytest.mark.parametrize(
    ("first", "then", "still"),
    [
        (DOWN, WRONG, False),
        (DOWN, BUSY, True),
        (QUOTA, WRONG, True),
        (QUOTA, BUSY, True),
        (BUSY, WRONG, True),
        (QUOTA, DOWN, True),
    ],
)
def test_a_refusal_shows_no_quota(first: ApiError, then: ApiError, still: bool) -> None:
    """A call that is refused for what it says shows that a place is there, not that it has quota; one that
    is rate limited shows neither an answer nor a quota."""
    place = a_place()
    told(place, first, STREAK_MAX, 10.0)
    open_before = place.breaker.tripped
    told(place, then, 1, 20.0)
    assert (place.use(20.0, NOW).in_vain_at is not None) is still
    told(place, WRONG, 2, 21.0)
    assert (place.use(21.0, NOW).in_vain_at is not None) is (still and then is not DOWN)
    if first is QUOTA and then is not DOWN:
        assert open_before
        assert place.breaker.tripped


@pytest.mark.parametrize(
    ("then", "lets_nobody_in"), [(BUSY, True), (QUOTA, True), (WRONG, True), (DOWN, False)]
)
def test_a_limit_that_lets_nobody_in_for_a_minute_is_known(then: ApiError, lets_nobody_in: bool) -> None:
    """Not before that, nor once it has answered."""
    place = a_place()
    told(place, BUSY, STREAK_MAX, 9.0)
    told(place, BUSY, 1, 9.0 + OUT_S - 1)
    assert not place.lets_nobody_in
    told(place, BUSY, 1, 9.0 + OUT_S)
    told(place, then, 1, 10.0 + OUT_S)
    assert place.lets_nobody_in is lets_nobody_in
    place.ended(11.0 + OUT_S, 10.0 + OUT_S, stream=False, well=True)
    assert not place.lets_nobody_in


def test_attempts_are_counted_by_how_they_ended() -> None:
    """What a limit or the caller's mistake ends is no answer, and its time is none of an answer's."""
    place = a_place()
    told(place, DOWN, 1, 9.0)
    told(place, QUOTA, 1, 9.0)
    told(place, BUSY, 3, 9.0)
    told(place, WRONG, 4, 9.0)
    place.ended(9.5, 9.0, stream=True, well=True)
    use = place.use(10.0, NOW)
    assert (use.answered, use.failed, use.rate_limited, use.refused) == (1, 2, 3, 4)
    assert (use.attempts, use.took_s) == (10, 0.5)


@pytest.mark.parametrize("began", [True, False], ids=["amid its answer", "before it"])
def test_a_client_that_leaves_shows_what_it_has_seen(began: bool) -> None:
    """Amid an answer, that the place is there; before it, nothing."""
    place = a_place()
    told(place, DOWN, STREAK_MAX, 10.0)
    place.ended(100.0 if began else None, 99.0, stream=True, well=False, left=True)
    assert place.breaker.tripped is not began
    use = place.use(110.0, NOW)
    assert (use.in_vain_at is None, use.answered_at is not None) == (began, began)
    assert use.answered == 0


def test_some_answers_among_limits_are_no_trouble() -> None:
    """However long it goes on."""
    place = a_place()
    for second in range(600):
        told(place, BUSY, STREAK_MAX - 1, float(second))
        place.ended(second + 0.5, second + 0.4, stream=False, well=True)
        assert place.use(float(second), NOW).in_vain_at is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (402, UpstreamError(message="Insufficient Balance", code="invalid_request_error")),
        (429, UpstreamError(message="quota", type="insufficient_quota", code="insufficient_quota")),
        (429, UpstreamError(message="quota", type="insufficient_quota", code="budget_exceeded")),
        (429, UpstreamError(message="quota", type="insufficient_quota")),
        (429, UpstreamError(message="Your team a-b has either used all available credits or reached its")),
        (403, UpstreamError(message="no", code="insufficient_user_quota")),
        (400, UpstreamError(message="no", code="billing_hard_limit_reached")),
        (400, UpstreamError(message="Your credit balance is too low to access the Anthropic API. Please")),
        (400, UpstreamError(message="You have reached your specified API usage limits. You will regain")),
    ],
)
def test_a_quota_that_is_used_up_is_known_in_every_providers_words(status: int, said: UpstreamError) -> None:
    """It is the operator's to mend, and another model is asked, whatever status it has; a caller is told so
    by the code."""
    error = as_api_error("p", status, said, retry_after_s=None)
    assert judge(error, status) == "elsewhere"
    assert limit_reached(error) == "out_of_quota"
    assert is_targets_fault(error, status)
    assert error.http_status == (429 if status == 429 else 502)
    assert b"x-should-retry: false" in error_lines(error, b"")


def test_what_a_caller_says_of_credit_is_no_quota() -> None:
    """A provider that repeats a prompt in its error says nothing of our account."""
    words = "messages.0: 'Your credit balance is too low to access' is not of type object"
    error = as_api_error("p", 400, UpstreamError(message=words), retry_after_s=None)
    assert (judge(error, 400), limit_reached(error)) == ("caller", None)


def test_the_newest_failure_has_its_status() -> None:
    """Of what came with none there is none, whatever came before."""
    place = Place(TARGET, "http://x/v1", None, cast("Pool", None))
    place.failed_with("upstream_error", 500)
    assert (place.use(0.0, NOW).last_error, place.use(0.0, NOW).last_status) == ("upstream_error", 500)
    place.failed_with("timeout_total", None)
    assert (place.use(0.0, NOW).last_error, place.use(0.0, NOW).last_status) == ("timeout_total", 0)


def test_a_place_whose_breaker_opened_tells_when_it_failed_last() -> None:
    """Also where others were answered in between, so that no five in a row were in vain."""
    place = a_place()
    for n in range(11):
        place.ended(1.0, 0.5, stream=False, well=True)
        told(place, DOWN, 1, 100.0 + n / 10)
    use = place.use(111.0, NOW)
    assert (use.state, use.in_vain_at, use.failed_at) == (1, None, NOW - timedelta(seconds=10))
