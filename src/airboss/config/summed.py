"""Summaries of what was spent, as they are configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Period = Literal["weekly", "monthly"]

KEPT_DAYS_MIN: Final[Mapping[Period, int]] = {"weekly": 14, "monthly": 38}
"""So long records are needed: for the whole period, and the week after it in which it may be told."""


class SummaryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[summaries.NAME]`: what was spent in a week or a month (UTC), told once it is over. `notify` names who
    is told; None: every notifier."""

    period: Period = "monthly"
    by: Literal["team", "key", "deployment"] = "team"
    notify: tuple[str, ...] | None = None
