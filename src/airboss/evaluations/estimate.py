"""What an evaluation would ask and what that would cost, before a call is made.

The items go the way that a run takes, to a caller that counts instead of asking: so judges are shown what
they would be shown, and what was answered before is not paid again. Input is counted by a tokenizer
(`providers.o200k`), output as what was answered lately. Of a large part some items stand for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from airboss.domain.errors import InvalidRequest, WrongCall
from airboss.domain.plan import Served
from airboss.domain.ports import RecordFilter, RecordLog
from airboss.evaluations.app_answers import app_call
from airboss.evaluations.datasets import Item, Part, flat_text, input_digest
from airboss.evaluations.from_records import OWN_KEY
from airboss.evaluations.library import Library
from airboss.evaluations.paid_once import answer_key
from airboss.evaluations.plan import EvalPlan, timed, with_app
from airboss.evaluations.ports import Answer, Call, EvalStore, Target
from airboss.evaluations.scorers.base import judged
from airboss.evaluations.scorers.llm_judge import JudgeScorer, LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PairwiseScorer
from airboss.providers import o200k
from airboss.providers.pricing import Buckets, cost_usd
from airboss.releases.render import leading_messages
from airboss.releases.sharing import sharing

SAMPLED_MAX: Final = 200
"""Items that are looked at; of more, so many stand for all."""

LATELY: Final = 200
"""Answers, the newest, whose mean length the next ones are expected to have."""

GUESSED: Final = {"a": 256, "b": 256, "judge": 120}
"""Tokens of an answer where there is none to go by; a judge reasons in two sentences."""

PART_TOKENS: Final = 1_000
"""Of a picture or a sound in a message."""

TURN_TOKENS: Final = 4
"""Of a message beside its words."""

SCHEMAS: Final = ("tools", "response_format")
"""Fields of a request that the model reads, too."""

USD_DIGITS: Final = Decimal("0.000001")

Who = Literal["a", "b", "judge"]
"""Who would be asked."""

By = Literal["release", "deployment", "guess"]
"""What output is reckoned by: answers of the release, of its deployment, or nothing that was seen."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one of those asked would be asked: `name` is the release, or of a judge the scorer. `kept` answers
    are there already and cost nothing; `calls` are paid for. `usd` is None where the model has no known price
    and there are calls. `local`: an engine of ours answers, whose chat template `input_tokens` leaves out."""

    who: Who
    name: str
    deployment: str
    release: str
    calls: int
    kept: int
    input_tokens: int
    output_tokens: int
    by: By
    usd: Decimal | None
    local: bool = False


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation would cost. `looked_at` of its `items` were read, of the `read` part; `usd` is the
    sum of what is known, and `unpriced` counts calls of which it is not."""

    dataset: str
    digest: str
    part: Part
    read: Part
    items: int
    looked_at: int
    repeats: int
    lines: tuple[Line, ...]
    calls: int
    usd: Decimal
    unpriced: int


class _Asked:
    """What somebody would be asked, counted."""

    def __init__(self, behind: Served, per_answer: float, by: By) -> None:
        self.behind = behind
        self.per_answer = per_answer
        self.by = by
        self.calls = self.kept = self.input = self.output = 0
        self.usd: Decimal | None = Decimal(0)

    def take(self, read: int, written: int) -> None:
        """One call more."""
        self.calls += 1
        self.input += read
        self.output += written
        used = Buckets(uncached=read, output=written)
        costs = [cost_usd(each, used) for each in sharing(self.behind.target)]
        known = [cost for cost in costs if cost is not None]  # of several the dearest may be drawn each time
        self.usd = None if len(known) < len(costs) or self.usd is None else self.usd + max(known)

    def line(self, who: Who, name: str, target: Target, scale: Decimal) -> Line:
        """All of it, as many times as `scale` says."""
        return Line(
            who=who,
            name=name,
            deployment=target.deployment,
            release=target.release,
            calls=round(self.calls * scale),
            kept=round(self.kept * scale),
            input_tokens=round(self.input * scale),
            output_tokens=round(self.output * scale),
            by=self.by,
            usd=None if self.usd is None else (self.usd * scale).quantize(USD_DIGITS).normalize(),
            local=self.behind.target.kind == "local",
        )


class _Counting:
    """A `Caller` that asks nobody. `kept` gives answers that are there; all else gets one of the length that
    is expected, told apart from others as real ones would be. An app's answers are nobody's to ask for."""

    def __init__(self, kept: Callable[[str], str | None]) -> None:
        self._kept = kept
        self._seen: dict[str, Answer] = {}
        self._heads: dict[str, int] = {}
        self.now: _Asked | None = None

    async def call(self, call: Call) -> Answer:
        """As `Caller.call`."""
        key = answer_key(call)
        if call.target.app:
            kept = self._kept(key)
            return _stood_in(key, GUESSED["b"]) if kept is None else msgspec.json.decode(kept, type=Answer)
        asked = self.now
        assert asked is not None  # whoever scores has said who is asked
        if key in self._seen:
            return self._seen[key]
        kept = self._kept(key)
        if kept is not None:
            asked.kept += 1
            answer = msgspec.json.decode(kept, type=Answer)
        else:
            written = _bounded(asked.per_answer, asked.behind, call)
            asked.take(self._read(asked.behind, call), written)
            answer = _stood_in(key, written)
        self._seen[key] = answer
        return answer

    def _read(self, behind: Served, call: Call) -> int:
        """Tokens of a call as it goes upstream, the release's prompt and examples included."""
        extra = {name: value for name, value in (call.input.params | call.params).items() if name in SCHEMAS}
        own = sum(map(_of_message, call.input.messages)) + sum(
            o200k.count(msgspec.json.encode(each).decode()) for each in extra.values()
        )
        return own + self._head(behind, call)

    def _head(self, behind: Served, call: Call) -> int:
        release = behind.release
        known = None if call.input.variables else self._heads.get(release.digest)
        if known is not None:
            return known
        try:
            leading = leading_messages(release, call.input.variables)
        except InvalidRequest as error:
            raise WrongCall(f"{error}; each such call would be refused") from None
        found = sum(map(_of_message, leading))
        if not call.input.variables:
            self._heads[release.digest] = found
        return found


async def estimate(
    plan: EvalPlan,
    *,
    store: EvalStore,
    library: Library,
    log: RecordLog,
    behind: Callable[[Target], Served],
    beside: Sequence[Target] = (),
    given: Mapping[str, str] = MappingProxyType({}),
) -> Estimate:
    """What an evaluation would cost, with those of the releases `beside` B against the same A. `given` are an
    app's answers that are not kept yet, by key; an app costs nothing, and has no line. Of a holdout
    nothing is read: items of another part stand for it, and nothing of it counts as answered before. Raises
    WrongCall where there are none, or the calls would be refused; StoreUnavailable."""
    dataset = library.find(plan.dataset)
    read = _stand_in(dataset.sizes) if plan.part == "holdout" else plan.part
    there = library.items(dataset, read)
    items = there[:: -(-len(there) // SAMPLED_MAX)]
    caller = _Counting(lambda key: given.get(key) or store.answer(key) if read == plan.part else None)
    sides: list[tuple[Who, Target]] = [("a", plan.a)] if plan.a is not None else []
    sides += [("b", each) for each in (plan.b, *beside)]
    arms = [(who, target, None if target.app else _asked(log, who, target, behind)) for who, target in sides]
    judges = [
        (spec, _asked(log, "judge", plan.judges[spec.deployment], behind))
        for spec in plan.scorers
        if isinstance(spec, LlmJudge | PairwiseJudge)
    ]
    for item in items:
        for repeat in range(plan.repeats):
            await _one(plan, item, repeat, arms=arms, judges=judges, caller=caller)
    scale = Decimal(dataset.sizes[plan.part]) / len(items)
    lines = [
        *(
            asked.line(who, target.name or target.release[:8], target, scale)
            for who, target, asked in arms
            if asked is not None
        ),
        *(asked.line("judge", spec.name, plan.judges[spec.deployment], scale) for spec, asked in judges),
    ]
    return Estimate(
        dataset=dataset.name,
        digest=dataset.digest,
        part=plan.part,
        read=read,
        items=dataset.sizes[plan.part],
        looked_at=len(items),
        repeats=plan.repeats,
        lines=tuple(lines),
        calls=sum(line.calls for line in lines),
        usd=sum((line.usd for line in lines if line.usd is not None), Decimal(0)),
        unpriced=sum(line.calls for line in lines if line.usd is None),
    )


async def _one(
    plan: EvalPlan,
    item: Item,
    repeat: int,
    *,
    arms: Sequence[tuple[Who, Target, _Asked | None]],
    judges: Sequence[tuple[LlmJudge | PairwiseJudge, _Asked]],
    caller: _Counting,
) -> None:
    """An item's way through a run, as `EvalRun` has it."""
    apart = "this run" if len(arms) == 2 and timed(plan) and not with_app(plan) else ""
    answers = []
    for _, target, asked in arms:
        caller.now = asked
        if target.app:
            answers.append(await caller.call(app_call(target, item)))
            continue
        call = Call(
            target=target,
            input=item.input,
            subject=input_digest(item.input),
            params=plan.params,
            repeat=repeat,
            user=item.user,
            apart=apart,
        )
        answers.append(await caller.call(call))
    for spec, asked in judges:
        caller.now, judge = asked, plan.judges[spec.deployment]
        if isinstance(spec, PairwiseJudge):
            for answer in answers[1:]:
                await PairwiseScorer(spec, judge, caller).mark_pair(item, answers[0], answer)
            continue
        for answer in answers:
            await judged(JudgeScorer(spec, judge, caller), item, answer)


def _stood_in(key: str, tokens: int) -> Answer:
    """An answer of about so many tokens in the place of one that nobody gave yet."""
    return Answer(text=f"{key[:8]} " + "so " * max(1, tokens - 2))


def _stand_in(sizes: dict[str, int]) -> Literal["train", "validation"]:
    """The part that is read in the holdout's place. Raises WrongCall where both are empty."""
    if not sizes["validation"] and not sizes["train"]:
        raise WrongCall("the holdout is locked, and no other part has an item to reckon by")
    return "validation" if sizes["validation"] else "train"


def _asked(log: RecordLog, who: Who, target: Target, behind: Callable[[Target], Served]) -> _Asked:
    """Who would be asked, and how long its answers have been. A judge's are those to Airboss's own calls, not
    what a deployment of the same name answers to others."""
    own = RecordFilter(release=target.release, status="ok", key=OWN_KEY if who == "judge" else None)
    tries: list[tuple[By, RecordFilter]] = [("release", own)]
    if who != "judge":
        tries.append(("deployment", RecordFilter(deployment=target.deployment, status="ok")))
    for by, where in tries:
        found = [each.output_tokens for each in log.records(where, limit=LATELY, bodies=False)]
        known = [each for each in found if each]
        if known:
            return _Asked(behind(target), sum(known) / len(known), by)
    return _Asked(behind(target), GUESSED[who], "guess")


def _bounded(per_answer: float, behind: Served, call: Call) -> int:
    """Tokens that an answer is expected to have, as the call or the release bounds it."""
    release = behind.release
    for params in (release.params_force, call.params, call.input.params, release.params):
        for name in ("max_completion_tokens", "max_tokens"):
            bound = params.get(name)
            if isinstance(bound, int):
                return min(round(per_answer), bound)
    return round(per_answer)


def _of_message(message: dict[str, Any]) -> int:
    """Tokens of a message: its words, tools that it calls, and parts that are no text."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    others = len([each for each in parts if isinstance(each, dict) and each.get("type") != "text"])
    called = message.get("tool_calls")
    words = flat_text(content) + (msgspec.json.encode(called).decode() if called else "")
    return TURN_TOKENS + o200k.count(words) + PART_TOKENS * others
