"""`/metrics`: read by Prometheus' own parsers, bounded, and never going backwards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from airboss.domain.plan import Limits
from airboss.domain.ports import ApiKey
from airboss.domain.record import ClosedCall, OpenedCall
from airboss.governance.keys import hash_key
from airboss.telemetry.exposition import LIMITS_MAX, OPENMETRICS, TEXT, Exposition
from airboss.telemetry.metrics import SERIES_MAX, Counts, LimitUse, WorkerMetrics, write_counts
from airboss.telemetry.semconv import DURATION_BUCKETS_S, TOKEN_BUCKETS
from airboss.testing import FakeProvider
from tests.store.samples import closed, opened
from tests.support.gateway import KEY, PRICE, Gateway, deployment
from tests.support.otlp import JSON, request, span
from tests.support.wait import until

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
NOW = datetime(2026, 11, 28, tzinfo=UTC)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(families: Iterable[Metric]) -> Samples:
    """Every sample by its name and labels; none stands twice."""
    found: Samples = {}
    for family in families:
        for each in family.samples:
            at = (each.name, tuple(sorted(each.labels.items())))
            assert at not in found, at
            found[at] = each.value
    return found


def shown(gateway: Gateway) -> Samples:
    """What a scrape reads."""
    return samples(read_text(httpx2.get(f"{gateway.url}/metrics").text))


def test_both_formats_say_the_same(gateway: Gateway) -> None:
    """Prometheus' parser and OpenMetrics', which is strict, read the same samples, each from its format."""
    gateway.chat()
    gateway.chat(stream=True)
    text = httpx2.get(f"{gateway.url}/metrics", headers={"accept": "text/plain;version=0.0.4"})
    strict = httpx2.get(f"{gateway.url}/metrics", headers={"accept": PROMETHEUS_3})
    assert (text.headers["content-type"], strict.headers["content-type"]) == (TEXT, OPENMETRICS)
    assert strict.text.endswith("# EOF\n")
    families = {each.name: each for each in read_openmetrics(strict.text)}
    one, other = samples(read_text(text.text)), samples(families.values())
    assert set(one) == set(other)
    ages = ("airboss_plan_age_seconds", "airboss_limit_used")
    moved = [at for at, value in one.items() if other[at] != value and at[0] not in ages]
    assert moved == []
    for name, bounds in (
        ("gen_ai_client_token_usage", TOKEN_BUCKETS),
        ("gen_ai_client_operation_duration_seconds", DURATION_BUCKETS_S),
    ):
        assert families[name].type == "histogram"
        there = {each.labels["le"] for each in families[name].samples if each.name.endswith("_bucket")}
        assert {float(each) for each in there} == {*map(float, bounds), float("inf")}


def test_tokens_are_a_histogram(own_root: Path, provider: FakeProvider) -> None:
    """Of input and output: how many calls had how many, and all together."""
    with Gateway(own_root, deployment(provider.url)) as mine:
        usages = [mine.chat(f'fake:{{"words": {n}}}').json()["usage"] for n in (2, 20, 200)]
        found = shown(mine)
    for kind, name in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        told = [usage[name] for usage in usages]
        of_kind = {at: n for at, n in found.items() if ("gen_ai_token_type", kind) in at[1]}
        by_name = {at[0].rpartition("_")[2]: n for at, n in of_kind.items() if "_bucket" not in at[0]}
        assert by_name == {"sum": sum(told), "count": 3}
        buckets = {dict(at[1])["le"]: n for at, n in of_kind.items() if at[0].endswith("_bucket")}
        assert {float(le): n for le, n in buckets.items()} == {
            bound: sum(each <= bound for each in told) for bound in (*TOKEN_BUCKETS, float("inf"))
        }


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("Application/OpenMetrics-Text;Q=0.4, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("application/openmetrics-text;q=-1;q=2,;,;;=,text/plain;q=", TEXT),
    ],
)
def test_the_format_is_what_is_asked_for(accept: str, kind: str) -> None:
    """OpenMetrics where it is wanted more than text; whatever else the header is, there is an answer."""
    body, said = Exposition([], {"requests_in_flight": 1.0}).written(accept)
    assert said == kind
    assert (b"# EOF" in body) == (kind == OPENMETRICS)


def test_counters_do_not_go_backwards(own_root: Path, provider: FakeProvider) -> None:
    """What was shown once of calls, spans, attempts and refusals is there after a kill, and counted on."""
    key = ApiKey(
        name="app", sha256=hash_key(KEY), created_at=NOW, limits=Limits(requests_per_minute=4, concurrency=9)
    )
    plan = deployment(provider.url)

    def counters() -> Samples:
        text = httpx2.get(f"{mine.url}/metrics").text
        return samples(each for each in read_text(text) if each.type in {"counter", "histogram"})

    with Gateway(own_root, plan, keys=(key,)) as mine:
        statuses = [mine.chat(f'fake:{{"fault": "{fault}"}}').status_code for fault in ("ok", "ok", "500")]
        statuses += [mine.chat().status_code for _ in range(3)]
        assert statuses == [200, 200, 502, 200, 429, 429]
        with mine.client() as client:
            assert client.post("/v1/traces", json=request(span(1)), headers=JSON).status_code == 200
        before = counters()
        mine.kill()
        mine.restart()
        with mine:
            first = counters()
            mine.chat()
            after = counters()
            fallen = [at for at, n in before.items() if first.get(at, 0) < n or after.get(at, 0) < n]
            assert fallen == []
            assert total(after, "gen_ai_client_operation_duration_seconds_count") == 5
            assert total(after, "airboss_target_attempts_total", outcome="answered") == 4
            assert total(after, "airboss_target_attempts_total", outcome="failed") == 1
            assert total(after, "airboss_limit_refusals_total", name="app") == 2
            mine.publish(deployment(f"{provider.url}/", upstream_model="other"))
            until(lambda: total(shown(mine), "airboss_target_attempts_total") == 0)


def is_ready(gateway: Gateway) -> bool:
    """Whether it answers."""
    try:
        return httpx2.get(f"{gateway.url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_kill_takes_no_call_out(own_root: Path, provider: FakeProvider) -> None:
    """Calls, tokens and costs are what the records say, though nobody looked before the worker was killed."""
    calls, costs = 0, 0.0
    with Gateway(own_root, deployment(provider.url, price=PRICE)) as mine:
        for _ in range(3):
            calls += 5
            costs += sum(float(mine.chat().headers["x-airboss-cost-usd"]) for _ in range(5))
            mine.kill()
            mine.restart()
            until(lambda: is_ready(mine))
            found = shown(mine)
            assert total(found, "gen_ai_client_operation_duration_seconds_count") == calls
            assert total(found, "airboss_cost_usd_total") == pytest.approx(costs)


def test_a_kill_takes_no_call_out_while_counts_cannot_be_written(
    own_root: Path, provider: FakeProvider
) -> None:
    """As where the disk is full: every call since they last were, be it seconds or another life ago."""
    calls, metrics = 0, own_root / "metrics"
    with Gateway(own_root, deployment(provider.url, price=PRICE)) as mine:
        for _ in range(2):
            until((metrics / "gateway-0.uncounted").exists)
            (metrics / "gateway-0.tmp").mkdir()
            for failures in range(1, 4):
                seen = mine.log.count("cannot write metrics")
                for _ in range(failures):
                    mine.chat()
                calls += failures
                until(lambda seen=seen: mine.log.count("cannot write metrics") > seen)  # type: ignore[misc]
            mine.kill()
            mine.restart()
            until(lambda: is_ready(mine))
            assert total(shown(mine), "gen_ai_client_operation_duration_seconds_count") == calls
            (metrics / "gateway-0.tmp").rmdir()
            mine.kill()  # before anything is written: it is all there still
            mine.restart()
            until(lambda: is_ready(mine))
            assert total(shown(mine), "gen_ai_client_operation_duration_seconds_count") == calls


def total(found: Samples, sample: str, **labels: str) -> float:
    """All samples of a name with these labels, added up."""
    return sum(n for at, n in found.items() if at[0] == sample and labels.items() <= dict(at[1]).items())


def test_a_worker_that_is_gone_has_nothing_under_way(own_root: Path, provider: FakeProvider) -> None:
    """Its counters go on, whoever answers the scrape; its gauges do not. Workers add up."""
    with Gateway(own_root, deployment(provider.url)) as mine:
        mine.chat()
        one = shown(mine)
        (own,) = until(lambda: list((own_root / "metrics").glob("gateway-0.json")))
        counts = msgspec.json.decode(own.read_bytes(), type=Counts)
        for number, age in ((1, timedelta(0)), (2, timedelta(minutes=1))):
            theirs = msgspec.structs.replace(
                counts, written_at=datetime.now(UTC) - age, gauges={"requests_in_flight": 5.0}
            )
            write_counts(own_root / "metrics" / f"gateway-{number}.json", theirs)
        three = shown(mine)
    for name in (
        "gen_ai_client_operation_duration_seconds_count",
        "gen_ai_client_token_usage_sum",
        "airboss_target_attempts_total",
    ):
        assert total(three, name) == 3 * total(one, name) > 0
    assert total(three, "airboss_requests_in_flight") == 5


def test_nothing_in_a_request_becomes_a_series(own_root: Path, provider: FakeProvider) -> None:
    """Users, sessions, tags, models, keys and paths, each a hundred times another: no series more."""

    def one_of_each(client: httpx2.Client, n: int) -> None:
        said = {"messages": [{"role": "user", "content": "hi"}]}
        tags = {"session_id": f"s-{n}", f"tag-{n}": f"{n}"}
        statuses = [
            client.post(
                "/v1/chat/completions", json={"model": "gpt-4o", "user": f"u-{n}", "metadata": tags} | said
            ),
            client.post("/v1/chat/completions", json={"model": f"model-{n}"} | said),
            client.post(f"/v1/path-{n}", json={}),
            client.post("/v1/chat/completions", json=said, headers={"authorization": f"Bearer ab_{n:043}"}),
            client.post(
                "/v1/traces", json=request(span(n + 1, name=f"n-{n}"), service=f"service-{n}"), headers=JSON
            ),
        ]
        assert [each.status_code for each in statuses] == [200, 404, 404, 401, 200]

    with Gateway(own_root, deployment(provider.url, price=PRICE)) as mine, mine.client() as client:
        one_of_each(client, 0)
        before = set(shown(mine))
        for n in range(1, 100):
            one_of_each(client, n)
        assert set(shown(mine)) == before


def test_series_are_bounded_whatever_the_plan() -> None:
    """Thousands of deployments, models and keys: what is beyond the bound is counted under `other`."""
    metrics = WorkerMetrics()
    names = [f"n{n}" for n in range(40)]
    for name, model in product(names, names):
        metrics.call(*ended(deployment=name, model=model))
    counts = metrics.counts(NOW)
    assert len(counts.series) == SERIES_MAX + 1
    assert sum(sum(each.duration.counts) for each in counts.series) == len(names) ** 2
    counts.series = []
    many = [(scope, f"n{n}", float(n % 7)) for scope in ("key", "team") for n in range(2_500)]
    counts.limits = [LimitUse(scope, name, "requests", 10.0, used, 0.0) for scope, name, used in many]
    counts.limits.append(LimitUse("all", "", "requests", 10.0, 0.0, 0.0))
    counts.limited = {f"{scope}\n{name}\nrequests": 1 for scope, name, _ in many} | {"all\n\nrequests": 3}
    found = samples(read_text(Exposition([counts], {}).written()[0].decode()))
    limits = [at for at in found if at[0] == "airboss_limit_used"]
    assert len(limits) == LIMITS_MAX + 1
    assert min(found[at] for at in limits if ("scope", "all") not in at[1]) == 5
    refusals = {(*dict(at[1]).values(),): n for at, n in found.items() if "refusals" in at[0]}
    assert refusals == {
        ("requests", "other", "key"): 2_500,
        ("requests", "other", "team"): 2_500,
        ("requests", "", "all"): 3,
    }


def ended(**fields: Any) -> tuple[OpenedCall, ClosedCall]:
    """A call."""
    return opened(1, **fields), closed(1, cost_usd=Decimal("0.1"))
