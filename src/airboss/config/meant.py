"""What was perhaps meant where a number, a text or a list stands in place of a table. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from airboss.config.models import ReplicaRange
from airboss.config.types import (
    ApprovalsConfig,
    DeploymentConfig,
    DriftConfig,
    GateConfig,
    OtlpConfig,
    PiiConfig,
    ProviderConfig,
    RetentionConfig,
    RolloutConfig,
    ScoringConfig,
    ShadowConfig,
    SloConfig,
    TagConfig,
)
from airboss.domain.plan import (
    Allowance,
    Budget,
    Caching,
    Hedge,
    Limits,
    Named,
    Price,
    Queue,
    Retry,
    Timeouts,
)

CHARS_MAX: Final = 100
"""A longer line is not written out."""
VALUE: Final = object()
"""In a table of `MEANT`, what stands in its place."""
_LASTS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS: Final[Mapping[str, Decimal]] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3_600),
    "d": Decimal(86_400),
}

MEANT: Final[Mapping[object, tuple[Mapping[str, object], ...]]] = {
    Allowance: ({"limits": {"requests_per_minute": VALUE}},),
    ApprovalsConfig: ({"required": VALUE},),
    Budget: ({"usd": VALUE, "per": "month"},),
    Caching: ({"ttl_s": VALUE},),
    DeploymentConfig: ({"model": VALUE},),
    DriftConfig: ({"features": VALUE},),
    GateConfig: ({"dataset": VALUE, "scorer": "exact"},),
    Hedge: ({"quantile": VALUE},),
    Limits: ({"requests_per_minute": VALUE},),
    Named: ({"users": VALUE},),
    OtlpConfig: ({"endpoint": VALUE},),
    PiiConfig: ({"action": VALUE},),
    Price: ({"input_usd_per_mtok": VALUE, "output_usd_per_mtok": VALUE},),
    ProviderConfig: ({"kind": VALUE},),
    Queue: ({"size": VALUE},),
    ReplicaRange: ({"min": VALUE, "max": VALUE},),
    RetentionConfig: ({"bodies_days": VALUE},),
    Retry: ({"attempts": VALUE},),
    RolloutConfig: ({"steps": VALUE},),
    ScoringConfig: ({"scorers": VALUE},),
    ShadowConfig: ({"sample": VALUE}, {"release": VALUE}),
    SloConfig: ({"target": VALUE},),
    TagConfig: ({"budget": {"usd": VALUE, "per": "month"}},),
    Timeouts: ({"total_s": VALUE},),
    "margin": ({"error_rate": VALUE},),
}
"""The members most likely meant, by the kind of the table, or by its key where it may have any members."""

SWITCHED: Final[Mapping[object, Mapping[str, object]]] = {
    Caching: {},
    Hedge: {},
    PiiConfig: {"action": "mask"},
    RolloutConfig: {},
    ShadowConfig: {},
}
"""What is on where its table is there, and off where it is not; and the least that says so."""


def meant(key: str, value: object, kind: object, reads: Callable[[object], bool]) -> str | None:
    """What to write for `key = value`, where a table of this kind is wanted; None where nothing is likely.
    `reads` says whether a table is one of the kind."""
    if kind is Retry and isinstance(value, bool):
        value = 3 if value else 1
    if isinstance(value, bool) and kind in SWITCHED:
        return _line(key, SWITCHED[kind]) if value else "leave it out to have it off"
    for form in MEANT.get(kind, MEANT.get(key, ())):
        for each in _values(value):
            table = _filled(form, each)
            if reads(table):
                return _line(key, table)
    return None


def _values(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, str) and (lasts := _LASTS.fullmatch(value.strip())) is not None:
        yield (Decimal(lasts[1]) * _SECONDS[lasts[2]]).normalize()
    if isinstance(value, str):
        yield [value]


def _filled(form: Mapping[str, object], value: object) -> dict[str, object]:
    return {
        name: _filled(each, value) if isinstance(each, dict) else value if each is VALUE else each
        for name, each in form.items()
    }


def _line(key: str, table: Mapping[str, object]) -> str | None:
    line = f"{key} = {_written(table)}"
    return f"write {line}" if len(line) <= CHARS_MAX and line.isprintable() else None


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{name} = {_written(each)}" for name, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False)
