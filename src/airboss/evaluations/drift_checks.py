"""Whether a model still answers as it did: fixed prompts, asked again and again, over the noise. Pure.

When checking begins every prompt is asked REPEATS times; how unlike these answers are to each other is the
noise. An answer has changed if it is less like each of them than they are like each other, by MARGIN. A
sequential test says whether more answers change than the noise explains; a hosted model that changes silently
changes most of them. A release that is promoted is no silent change: checking begins anew.

Likeness is 1 for the same text, else that of hashed words (`drift_features.near`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from airboss.evaluations import sequential
from airboss.evaluations.drift_features import near, vector
from airboss.evaluations.sequential import Test

REPEATS: Final = 3
MARGIN: Final = 0.1
LIMIT: Final = 0.25
"""The share of answers that may be beyond the noise: it is measured by few repeats."""

STEPS: Final = 1_000
SHOWN_CHARS: Final = 300
EXAMPLES: Final = 5


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt whose answer is another: what it was, what it is, and how alike they are."""

    prompt: str
    before: str
    after: str
    likeness: float
    floor: float


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """Where checking stands. `answers` are those of the reference, by prompt; `test` is None while there are
    too few. `since` is the replay before the first with more changes than the noise explains.
    `failed` prompts had no answer the last time; `why` is the cause for the first of them."""

    release: str
    prompts: tuple[str, ...]
    at: datetime
    alpha: float
    answers: dict[str, tuple[str, ...]] = {}
    replays: int = 0
    test: Test | None = None
    since: datetime | None = None
    changed: tuple[Changed, ...] = ()
    failed: int = 0
    why: str = ""

    @property
    def drifted(self) -> bool:
        """Whether the test has said so."""
        return self.test is not None and sequential.rejected(self.test, self.alpha)


def begun(prompts: Sequence[str], release: str, *, alpha: float, now: datetime) -> Checks:
    """Nothing was asked yet."""
    return Checks(release=release, prompts=tuple(prompts), at=now, alpha=alpha)


def likeness(a: str, b: str) -> float:
    """How alike two answers are, 0 to 1."""
    if a.strip() == b.strip():
        return 1.0
    return near(vector(a), vector(b))


def after(state: Checks, answers: Mapping[str, str], *, now: datetime, why: str = "") -> Checks:
    """The state after a replay: the answers by prompt; a prompt without one failed and counts for nothing;
    `why` is the cause for the first of these."""
    failed = len(state.prompts) - len(answers)
    replays, why = state.replays + 1, why[:SHOWN_CHARS] if failed else ""
    state = msgspec.structs.replace(state, at=now, replays=replays, failed=failed, why=why)
    if state.test is None:
        kept = {each: (*state.answers.get(each, ()), answers[each]) for each in answers}
        merged = {**state.answers, **kept}
        full = merged and all(len(merged.get(each, ())) >= REPEATS for each in state.prompts)
        test = Test(limit=LIMIT, steps=STEPS) if full else None
        return msgspec.structs.replace(state, answers=merged, test=test)
    changed = [found for each in answers if (found := _changed(state, each, answers[each])) is not None]
    test = sequential.after(state.test, n=len(answers), bad=len(changed))
    since = (state.since or now) if len(changed) > LIMIT * len(answers) else None
    return msgspec.structs.replace(
        state, test=test, since=since if not state.drifted else state.since, changed=tuple(changed[:EXAMPLES])
    )


def _changed(state: Checks, prompt: str, answer: str) -> Changed | None:
    known = state.answers[prompt]
    floor = min(likeness(a, b) for at, a in enumerate(known) for b in known[at + 1 :])
    alike, best = max((likeness(answer, each), each) for each in known)
    if alike >= floor - MARGIN:
        return None
    return Changed(
        prompt=prompt[:SHOWN_CHARS],
        before=best[:SHOWN_CHARS],
        after=answer[:SHOWN_CHARS],
        likeness=round(alike, 3),
        floor=round(floor, 3),
    )
