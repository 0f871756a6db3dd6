"""What is known of drift, in words."""

from __future__ import annotations

from typing import Final

from airboss.evaluations.drift import EXAMPLES, Drift
from airboss.evaluations.drift_checks import Checks

SHOWN: Final = 3
WORDS: Final = {
    "input_length": "length of questions",
    "input_language": "language of questions",
    "input_topic": "topic of questions",
    "output_length": "length of answers",
    "output_language": "language of answers",
    "output_refusal": "answers that decline",
    "output_format": "form of answers",
}
"""What features are called."""


def drifted(features: Drift | None, checks: Checks | None) -> tuple[int, str, tuple[str, ...]] | None:
    """How much has drifted, what, and ids of some of the calls that have; None while too little is known."""
    known = [features is not None and bool(features.watched), checks is not None and checks.test is not None]
    if not any(known):
        return None
    words: list[str] = []
    calls: list[str] = []
    if features is not None:
        for each in features.found:
            now, before = (100 * each.after / max(each.n_after, 1), 100 * each.before / each.n_before)
            words.append(
                f"{WORDS[each.feature]}: {each.bin}, {now:.0f} % since {each.since:%Y-%m-%d %H:%M} UTC, "
                f"{before:.0f} % before"
            )
            calls += each.examples_after
    if checks is not None and checks.drifted:
        since = f" since {checks.since:%Y-%m-%d %H:%M} UTC" if checks.since is not None else ""
        words.insert(0, f"answers to fixed prompts changed{since}")
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return len(words), "; ".join(words[:SHOWN]) + more, tuple(dict.fromkeys(calls))[:EXAMPLES]
