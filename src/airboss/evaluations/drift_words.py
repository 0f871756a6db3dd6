"""What is known of drift, in words."""

from __future__ import annotations

from airboss.evaluations.drift import Drift
from airboss.evaluations.drift_checks import Checks

SHOWN = 3


def drifted(features: Drift | None, checks: Checks | None) -> tuple[int, str] | None:
    """How much has drifted, and what; None while too little is known."""
    known = [features is not None and bool(features.watched), checks is not None and checks.test is not None]
    if not any(known):
        return None
    words = []
    if features is not None:
        words += [
            f"{each.feature.replace('_', ' ')}: {each.bin} since {each.since:%Y-%m-%d %H:%M} UTC"
            for each in features.found
        ]
    if checks is not None and checks.drifted:
        since = f" since {checks.since:%Y-%m-%d %H:%M} UTC" if checks.since is not None else ""
        words.insert(0, f"answers to fixed prompts changed{since}")
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return len(words), "; ".join(words[:SHOWN]) + more
