"""What `airboss status` shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.controller.status import SILENT, deployment_status, local_state, met, open_breakers, with_silence
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.ports import Replica, ReplicaState
from airboss.domain.release import ModelVersion, ProviderKind, Release
from airboss.domain.status import DeploymentState, ProcessStatus
from airboss.telemetry.metrics import OUT_S, Counts, Limited, TargetUse
from airboss.telemetry.places import Out, places_out, shut_places

NOW = datetime(2026, 11, 23, tzinfo=UTC)
URL = "http://127.0.0.1:9001/v1"


def deployment(kind: ProviderKind) -> DeploymentPlan:
    """A deployment reached at `URL`."""
    return DeploymentPlan(
        name="assistant",
        aliases=("gpt-4o",),
        stable=Release(digest="abc", name="tiny", model=ModelVersion(provider="p", kind=kind, model="m")),
        target=Target(provider="p", kind=kind, base_urls=(URL,), upstream_model="m"),
    )


def replica(state: ReplicaState, *, url: str = URL, detail: str | None = None) -> Replica:
    """A replica in that state."""
    return Replica(id="r", model="m", url=url, state=state, restarts=0, since=NOW, detail=detail)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "down"),
        (["stopped"], "down"),
        (["backing_off"], "down"),
        (["starting"], "starting"),
        (["fetching", "backing_off"], "starting"),
        (["ready", "backing_off"], "ready"),
    ],
)
def test_a_local_deployment_is_as_good_as_its_best_replica(
    states: list[ReplicaState], expected: DeploymentState
) -> None:
    """One ready replica serves; one on its way gives hope; else it is down."""
    assert local_state([replica(state) for state in states]) == expected


def test_a_local_deployment_tells_what_its_replica_says() -> None:
    """The detail of a replica that is not ready is the deployment's; other models' replicas do not count."""
    own = replica("backing_off", detail="ended with exit code 1")
    other = replica("ready", url="http://127.0.0.1:9002/v1")
    found = deployment_status(deployment("local"), [own, other])
    assert (found.state, found.detail) == ("down", "ended with exit code 1")


def test_a_hosted_deployment_needs_no_replica() -> None:
    """A hosted provider is ready without any replica."""
    found = deployment_status(deployment("openai"), [])
    assert (found.state, found.release, found.release_name) == ("ready", "abc", "tiny")


def test_a_hosted_deployment_needs_a_key_of_its_provider() -> None:
    """Without any it is down, as no call is sent on; where some of several are missing, that is told."""
    refs = ("env:A", "env:B")
    target = msgspec.structs.replace(deployment("openai").target, base_urls=(URL, URL), key_refs=refs)
    plan = msgspec.structs.replace(deployment("openai"), target=target)
    assert deployment_status(plan, [], missing=["no A", "no B"]).state == "down"
    found = deployment_status(plan, [], missing=["no B"])
    assert (found.state, found.detail) == ("ready", "no B")


@pytest.mark.parametrize(
    ("refs", "missing", "expected"),
    [((), ["no A"], "ready"), (("env:B",), ["no A"], "ready"), (("env:B",), ["no A", "no B"], "down")],
)
def test_models_that_share_calls_are_ready_while_one_has_what_it_needs(
    refs: tuple[str, ...], missing: list[str], expected: DeploymentState
) -> None:
    """A key, or none where its provider takes none: it answers what the others cannot be asked."""
    hosted = deployment("openai")
    other = Target(
        provider="q", kind="openai-compatible", base_urls=(URL,), upstream_model="n", key_refs=refs
    )
    shares = {"fallbacks": (other,), "shares": (0.5, 0.5)}
    target = msgspec.structs.replace(hosted.target, key_refs=("env:A",), **shares)
    found = deployment_status(msgspec.structs.replace(hosted, target=target), [], missing=missing)
    assert (found.state, found.detail) == (expected, "no A")


def test_a_gateway_that_has_not_told_of_itself_hangs() -> None:
    """One that has just begun, one that tells, and a process that tells nothing of itself do not."""
    now = datetime(2026, 11, 30, 9, tzinfo=UTC)
    late, soon = now - SILENT - timedelta(seconds=1), now - timedelta(seconds=2)
    processes = [
        ProcessStatus(name=name, state="ready", restarts=0, since=since)
        for name, since in (
            ("gateway-0", late),
            ("gateway-1", late),
            ("gateway-2", soon),
            ("controller", late),
        )
    ]
    counts = {f"gateway-{number}": Counts(written_at=at) for number, at in enumerate((late, soon, late))}
    counts["controller"] = Counts(written_at=late)  # on a disk that takes nothing, say
    found = with_silence(processes, counts, now)
    assert [each.state for each in found] == ["silent", "ready", "ready", "ready"]
    assert found[0].detail == "has said nothing of itself since 08:59:49 UTC: it hangs, or cannot write"
    assert with_silence(processes, {}, now) == [
        msgspec.structs.replace(each, state="silent", detail=found[0].detail)
        if each.name in {"gateway-0", "gateway-1"}
        else each
        for each in processes
    ], "nor has one that never told of itself"


def use(url: str, state: int, error: str = "", *, asked: int = 0, ago_s: float | None = None) -> TargetUse:
    """A place as one worker has seen it: `asked` calls are under way, and one failed so long ago."""
    failed_at = None if ago_s is None else NOW - timedelta(seconds=ago_s)
    return TargetUse("p", "m", url, "", state, asked, last_error=error, failed_at=failed_at)


@pytest.mark.parametrize(
    ("workers", "shut"),
    [
        ([[use(URL, 2, "timeout")]], {"timeout"}),
        ([[use(URL, 2, "timeout")], [use(URL, 2)], []], {"timeout"}),
        ([[use(URL, 2, "timeout")], [use(URL, 0)]], set()),
        ([[use(URL, 1, "timeout", asked=1, ago_s=OUT_S)]], {"timeout"}),
        ([[use(URL, 1, "timeout", ago_s=5.0)]], {"timeout"}),
        ([[use(URL, 1, "timeout", ago_s=OUT_S)]], set()),
    ],
    ids=["one worker", "all that know it", "another lets calls through", "probed", "to be probed", "unasked"],
)
def test_a_place_is_shut_until_a_probe_has_come_back(workers: list[list[TargetUse]], shut: set[str]) -> None:
    """In every worker that knows it; of one that nobody has asked for a while nobody knows."""
    counts = [Counts(written_at=NOW, targets=targets) for targets in workers]
    assert set(shut_places(counts).values()) == shut


def test_a_deployment_is_down_while_its_places_are_left_alone() -> None:
    """All of them; and not where a fallback would answer."""
    hosted = deployment("openai")
    other = msgspec.structs.replace(hosted.target, provider="q", base_urls=("http://user:word@q/v1",))
    with_fallback = msgspec.structs.replace(
        hosted, target=msgspec.structs.replace(hosted.target, fallbacks=(other,))
    )
    own, elsewhere = ("p", "m", URL, ""), ("q", "m", "http://q/v1", "")
    found = deployment_status(hosted, [], shut={own: "timeout"})
    assert (found.state, found.detail) == (
        "down",
        "its breaker has opened after timeout: single calls try whether it is back",
    )
    found = deployment_status(with_fallback, [], shut={own: "timeout"})
    assert found.state == "ready"
    assert (found.detail or "").endswith("; q/m answers instead")
    assert deployment_status(with_fallback, [], shut={own: "", elsewhere: ""}).state == "down"
    two = msgspec.structs.replace(
        hosted, target=msgspec.structs.replace(hosted.target, base_urls=(URL, URL + "/2"))
    )
    assert deployment_status(two, [], shut={own: "timeout"}).state == "ready"


@pytest.mark.parametrize(
    ("limited", "says"),
    [
        (None, "it has not answered since 2026-11-24 14:00 UTC with timeout"),
        ("rate_limited", "it has been rate limited since 2026-11-24 14:00 UTC with timeout"),
    ],
)
def test_a_deployment_is_down_while_its_only_place_is_out(limited: Limited | None, says: str) -> None:
    """Whatever its breaker says, which lets single calls through; and not where a fallback would answer."""
    hosted = deployment("openai")
    other = msgspec.structs.replace(hosted.target, provider="q", base_urls=("http://q/v1",))
    own = ("p", "m", URL, "")
    since = datetime(2026, 11, 24, 14, tzinfo=UTC)
    (out,) = open_breakers([use(URL, 0, "timeout")], {own: Out(since, limited)})
    found = deployment_status(hosted, [], lasting={own: out})
    assert (found.state, found.detail) == ("down", says)
    covered = msgspec.structs.replace(
        hosted, target=msgspec.structs.replace(hosted.target, fallbacks=(other,))
    )
    found = deployment_status(covered, [], lasting={own: out})
    assert (found.state, found.detail) == ("ready", f"{says}; q/m answers instead")
    assert (
        deployment_status(covered, [], lasting={own: out}, shut={("q", "m", "http://q/v1", ""): ""}).state
        == "down"
    )


def tripped(
    state: int, began: float, failed: float, answered: float | None = None, limited: Limited | None = None
) -> TargetUse:
    """A place in vain since so many seconds that failed last so many ago; `answered` as `failed`."""
    at = None if answered is None else NOW - timedelta(seconds=answered)
    times: dict[str, Any] = {
        "failed_at": NOW - timedelta(seconds=failed),
        "answered_at": at,
        "limited": limited,
    }
    return msgspec.structs.replace(
        use(URL, state, "upstream_auth"), in_vain_at=NOW - timedelta(seconds=began), **times
    )


ANSWERED = msgspec.structs.replace(use(URL, 0), answered_at=NOW - timedelta(seconds=5))


@pytest.mark.parametrize(
    ("workers", "since_s"),
    [
        ([tripped(2, OUT_S, 0)], OUT_S),
        ([tripped(1, 9 * OUT_S, 0, answered=9 * OUT_S)], 9 * OUT_S),
        ([tripped(2, OUT_S - 1, 0)], None),
        ([tripped(1, 9 * OUT_S, 9 * OUT_S)], None),
        ([tripped(2, 2 * OUT_S, 0), ANSWERED, use(URL, 0)], 2 * OUT_S),
        ([tripped(1, 9 * OUT_S, OUT_S), ANSWERED], None),
        ([tripped(2, 2 * OUT_S, 0), tripped(1, 3 * OUT_S, 1)], 3 * OUT_S),
        ([tripped(1, 900 * OUT_S, 800 * OUT_S), tripped(2, 2, 1, answered=3)], None),
        ([tripped(0, OUT_S, 0, limited="rate_limited")], OUT_S),
        ([tripped(0, OUT_S - 1, 0, limited="rate_limited")], None),
        ([tripped(0, 2 * OUT_S, 0, limited="rate_limited"), ANSWERED], None),
        ([tripped(0, 2 * OUT_S, 0, OUT_S, limited="rate_limited"), use(URL, 0)], OUT_S),
    ],
    ids=[
        "open",
        "half open",
        "a flap",
        "then idle",
        "ours failed last",
        "is back",
        "two",
        "an old one, a flap",
        "rate limited",
        "rate limited for a moment",
        "rate limited, others answered",
        "rate limited since it answered",
    ],
)
def test_a_place_is_out_that_was_tried_again_for_long_in_vain(
    workers: list[TargetUse], since_s: float | None
) -> None:
    """Not one that failed for a moment, whoever calls it after; nor one that has answered another worker."""
    found = places_out([Counts(written_at=NOW, targets=[each]) for each in workers])
    since = {place: each.since for place, each in found.items()}
    assert since == ({("p", "m", URL, ""): NOW - timedelta(seconds=since_s)} if since_s is not None else {})


def test_a_breaker_says_whose_calls_meet_it_and_who_is_asked_instead() -> None:
    """Of a model with another place that is well that, else the first model that is; and of a place that only
    a candidate asks, none is out."""
    hosted = deployment("openai")
    other = msgspec.structs.replace(hosted.target, provider="q", base_urls=("http://q/v1",))
    covered = msgspec.structs.replace(
        hosted, target=msgspec.structs.replace(hosted.target, fallbacks=(other,))
    )
    two = msgspec.structs.replace(
        hosted, target=msgspec.structs.replace(hosted.target, base_urls=(URL, URL + "/2"))
    )
    (shut,) = open_breakers([use(URL, 2, "upstream_auth")], {("p", "m", URL, ""): Out(NOW)})
    assert (shut.out_since, shut.key, shut.last_failure) == (NOW, None, "upstream_auth")

    def told(*plans: DeploymentPlan) -> tuple[datetime | None, tuple[str, ...], str | None]:
        (found,) = met([shut], plans)
        return found.out_since, found.deployments, found.instead

    assert told(covered) == (NOW, ("assistant",), "q/m")
    assert told(two) == (NOW, ("assistant",), "another place of p/m")
    assert told(hosted) == (NOW, ("assistant",), None)
    other_plan = msgspec.structs.replace(hosted, name="bare")
    assert told(covered, other_plan) == (NOW, ("assistant", "bare"), None), "one of them has nobody"
    assert [each.stranded for each in met([shut], [covered, other_plan])] == [("bare",)]
    assert told() == (None, (), None)
    (said,) = open_breakers([msgspec.structs.replace(use(URL, 2, "upstream_error"), last_status=500)], {})
    assert (said.last_failure, said.last_status) == ("upstream_error", 500)
    (limited,) = open_breakers([use(URL, 0)], {("p", "m", URL, ""): Out(NOW, "rate_limited")})
    assert (limited.state, limited.out_since, limited.limited) == ("closed", NOW, "rate_limited")
    (found,) = met([limited], [covered])
    assert (found.deployments, found.instead) == (("assistant",), "q/m")
    assert list(met([limited], [])) == [], "nobody asks it, and nothing is the matter with its breaker"
    (also,) = open_breakers([TargetUse("q", "m", "http://q/v1", "", 1)], {})
    assert [each.instead for each in met([shut, also], [covered])] == [None, None]
