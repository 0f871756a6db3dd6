"""Where a call's time went, as rows of bars: geometry only, in percent of the whole."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from airboss.domain.record import EXTERNAL, InferenceRecord

Kind = Literal["ours", "wait", "stream", "answer", "failed"]
"""`ours`: our overhead; `wait`: sent, nothing came yet; `stream`: output flows; `answer`: one whole answer,
waited for; `failed`: an attempt that did not answer."""

ATTEMPTS_SHOWN = 12
SHORTEST_MS = 1e-3


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time; `left` and `width` in percent of the chart."""

    kind: Kind
    left: float
    width: float
    ms: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the picture. `note` says how it ended."""

    label: str
    bars: tuple[Bar, ...]
    ms: float
    failed: bool = False
    note: str | None = None


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A mark on the time axis; `left` in percent."""

    left: float
    ms: float


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """The picture. `first_token` is where the first token stands, in percent; None where there was none."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    first_token: float | None
    left_out: int

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of bars in it."""
        return frozenset(bar.kind for row in self.rows for bar in row.bars)


def waterfall(record: InferenceRecord) -> Waterfall | None:
    """The picture of a record; None where it took no time that could be drawn."""
    ends = [max(each.start_ms, 0.0) + max(each.latency_ms, 0.0) for each in record.attempts]
    total = max([record.latency_ms, *ends], default=0.0)
    if not math.isfinite(total) or total < SHORTEST_MS:
        return None
    rows: list[Row] = []
    if record.attempts and record.arm != EXTERNAL:
        before = min(max(record.attempts[0].start_ms, 0.0), total)
        rows.append(Row(label="before upstream", bars=(bar("ours", 0.0, before, total),), ms=before))
    elif not record.attempts:
        rows.append(Row(label="call", bars=(bar("ours", 0.0, total, total),), ms=total))
    rows.extend(
        attempt_row(record, index, total) for index in range(min(len(record.attempts), ATTEMPTS_SHOWN))
    )
    last = max(ends, default=total)
    if record.attempts and total - last > total * 0.002:
        rows.append(
            Row(label="after upstream", bars=(bar("ours", last, total - last, total),), ms=total - last)
        )
    first = record.ttft_ms
    return Waterfall(
        rows=tuple(rows),
        ticks=ticks(total),
        first_token=100 * first / total if first is not None and 0 <= first <= total else None,
        left_out=max(0, len(record.attempts) - ATTEMPTS_SHOWN),
    )


def attempt_row(record: InferenceRecord, index: int, total: float) -> Row:
    """One attempt: waiting for the first token, then streaming."""
    attempt = record.attempts[index]
    start, length = max(attempt.start_ms, 0.0), max(attempt.latency_ms, 0.0)
    bars: tuple[Bar, ...]
    if attempt.error_type is not None:
        bars = (bar("failed", start, length, total),)
    elif attempt.ttft_ms is not None and record.stream:
        wait = min(attempt.ttft_ms, length)
        bars = (bar("wait", start, wait, total), bar("stream", start + wait, length - wait, total))
    else:
        bars = (bar("answer", start, length, total),)
    unsaid = "no answer" if attempt.error_type is not None else "answered"
    status = str(attempt.status_code) if attempt.status_code is not None else unsaid
    return Row(
        label=f"{index + 1} · {attempt.provider}",
        bars=bars,
        ms=length,
        failed=attempt.error_type is not None,
        note=f"{status} {attempt.error_type}" if attempt.error_type is not None else status,
    )


def bar(kind: Kind, start: float, length: float, total: float) -> Bar:
    """A stretch in percent, kept inside the picture and wide enough to be seen."""
    left = min(100 * start / total, 99.6)
    return Bar(kind=kind, left=left, width=min(max(100 * length / total, 0.4), 100 - left), ms=length)


def ticks(total: float) -> tuple[Tick, ...]:
    """Three to six marks at round times, 0 first."""
    step = 10 ** math.floor(math.log10(total))
    for factor in (0.2, 0.25, 0.5, 1.0, 2.0):
        if total / (step * factor) <= 5:
            step *= factor
            break
    return tuple(
        Tick(left=100 * index * step / total, ms=index * step) for index in range(int(total / step) + 1)
    )
