"""Live calls as scorers see them: which are drawn, what was asked and answered, what scores come of it.

A live call expects nothing, so only scorers that need no `expected` judge it. One finds it in the call:
`json_schema` without a schema judges by the one that the request asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from airboss.config import Config, ScoringConfig
from airboss.dialects.recorded import in_chat
from airboss.domain.errors import ConfigError, WrongCall
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.datasets import Input, Item, flat_text
from airboss.evaluations.marks import Mark, as_score, unscored
from airboss.evaluations.orders import check_function
from airboss.evaluations.ports import Answer, Caller, Target
from airboss.evaluations.scorers.base import Scorer, judged
from airboss.evaluations.scorers.contains import Contains
from airboss.evaluations.scorers.cost import Cost
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.json_schema import JsonSchema
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.llm_judge import LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PairwiseScorer
from airboss.evaluations.scorers.python_function import PythonFunction
from airboss.evaluations.scorers.regex import Regex
from airboss.evaluations.scorers.spec import Spec, check_named, open_scorer, read_spec, spec_from
from airboss.evaluations.scorers.tool_calls import ToolCalls
from airboss.providers.cut import CUT, cut
from airboss.store.alert_metrics import INTERNAL_KEY

SCORE_S_MAX: Final = 120.0
COMMENT_CHARS_MAX: Final = 2_000
_TEXTLESS: Final = (Latency, Cost)
"""Scorers that a call without kept bodies can be judged by."""


class _Unopened(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer that could not be opened."""

    name: str
    cause: str

    bounds: ClassVar[tuple[float, float] | None] = None
    higher_is_better: ClassVar[bool] = True

    async def mark(self, item: Item, answer: Answer) -> Mark:  # noqa: ARG002 - nothing is looked at
        """As `Scorer.mark`."""
        return unscored(self.cause)


class OnlineScorer(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer that is ready, with what it was made from."""

    spec: Spec
    scorer: Scorer

    @property
    def calls_a_model(self) -> bool:
        """Whether each of its marks costs a call."""
        return isinstance(self.spec, LlmJudge)


def check_scorers(config: Config, *, source: str) -> None:
    """What `check_scoring` says without looking for Python functions. Raises ConfigError."""
    _check(config, lambda _name, _spec: None, source=source)


def check_scoring(config: Config, folder: Path, *, source: str, kept: Collection[str] = ()) -> None:
    """Look at every deployment's scorers as if to use them; Python functions stand in `folder`, where those
    of the deployments `kept` are not looked for. Raises ConfigError for what could not be used."""

    def look(name: str, spec: PythonFunction) -> None:
        if name not in kept:
            check_function(spec, folder)

    _check(config, look, source=source)


def _check(config: Config, look: Callable[[str, PythonFunction], object], *, source: str) -> None:
    for name, deployment in config.deployments.items():
        if deployment.scoring is None:
            continue
        where = f"{source}: deployments.{name}.scoring"
        try:
            specs = specs_of(deployment.scoring)
            for spec in specs:
                if isinstance(spec, PythonFunction):
                    look(name, spec)
        except WrongCall as error:
            raise ConfigError(f"{where}: {error}") from error
        for spec in specs:
            if isinstance(spec, LlmJudge) and spec.deployment not in config.deployments:
                raise ConfigError(
                    f"{where}: {spec.name!r} asks deployment {spec.deployment!r}, which is not there"
                )


def specs_of(scoring: ScoringConfig) -> tuple[Spec, ...]:
    """The scorers of a deployment's `scoring`. Raises WrongCall for one that is wrong, or that needs what no
    live call has."""
    specs = tuple(map(scorer_of, scoring.scorers))
    for spec in specs:
        check_named(spec)
    check_live(specs)
    return specs


def check_live(specs: Sequence[Spec]) -> None:
    """Raises WrongCall for scorers of one name, and for one that needs what no live call has."""
    names = [spec.name for spec in specs]
    for spec in specs:
        if names.count(spec.name) > 1:
            raise WrongCall(f"two scorers are called {spec.name!r}; give one of them another `name`")
        lacks = lacking(spec)
        if lacks is not None:
            raise WrongCall(f"the scorer {spec.name!r} {lacks}, and a live call has none")


def less_is_better(scoring: ScoringConfig | None) -> frozenset[str]:
    """The names of those scorers that call less better: refusals, say. Raises WrongCall as `specs_of`."""
    specs = specs_of(scoring) if scoring is not None else ()
    return frozenset(
        each.name for each in specs if not isinstance(each, PairwiseJudge) and not each.higher_is_better
    )


def open_scorers(
    specs: Sequence[Spec], *, caller: Caller, resolve: Callable[[str], Target], folder: Path
) -> tuple[OnlineScorer, ...]:
    """The scorers, ready. `resolve` and `folder` as `open_scorer` takes them. One that cannot be opened (any
    more) leaves every call unscored, with the cause."""
    opened = []
    for spec in specs:
        try:
            if isinstance(spec, PythonFunction):
                check_function(spec, folder)
            scorer = open_scorer(spec, caller=caller, resolve=resolve, folder=folder)
        except WrongCall as error:
            scorer = _Unopened(name=spec.name, cause=str(error))
        assert not isinstance(scorer, PairwiseScorer)  # specs_of lets none pass
        opened.append(OnlineScorer(spec=spec, scorer=scorer))
    return tuple(opened)


def unscorable(record: InferenceRecord) -> str | None:
    """Why no scorer looks at such a call; None where one may. A shadow's is Airboss's own, and looked at."""
    if record.status != "ok":
        return f"ended as {record.status}"
    if record.key == INTERNAL_KEY and record.arm != "shadow":
        return "of Airboss's own"
    if record.operation not in ("chat", "text_completion"):
        return f"of {record.operation}, not of a chat"
    return None


def drawn(record_id: str, sample: float) -> bool:
    """Whether a call belongs to the sample: by its id alone, so that looking again changes nothing."""
    digest = hashlib.sha256(b"online\0" + record_id.encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < sample


def score_id(record_id: str, name: str) -> str:
    """The id that a scorer's score of a record has, always the same: a UUIDv7 with the record's own time, so
    that the same score made twice is one score."""
    digest = hashlib.sha256(f"{record_id}\0{name}".encode()).hexdigest()
    variant = "89ab"[int(digest[3], 16) % 4]
    return f"{record_id[:13]}-7{digest[:3]}-{variant}{digest[4:7]}-{digest[7:19]}"


def judges_it(spec: Spec, record: InferenceRecord) -> bool:
    """Whether the scorer has anything to say of such a call: a schema to judge by, say."""
    return not (isinstance(spec, JsonSchema) and spec.schema is None and _asked_schema(record) is None)


async def score(online: OnlineScorer, record: InferenceRecord, *, now: Callable[[], datetime]) -> Score:
    """The score of a record, whose bodies are there if they were kept. Never raises but for cancellation."""
    try:
        async with asyncio.timeout(SCORE_S_MAX):
            mark = await _mark(online, record)
    except TimeoutError:
        mark = unscored(f"{online.spec.name} said nothing within {SCORE_S_MAX:g} s")
    return as_record_score(mark, online.spec, record, now())


def as_record_score(mark: Mark, spec: Spec, record: InferenceRecord, at: datetime) -> Score:
    """A mark as the score of a record."""
    made = as_score(
        mark,
        id=score_id(record.id, spec.name),
        subject="record",
        subject_id=record.id,
        name=spec.name,
        by=spec.name,
        at=at,
    )
    if made.comment is not None and len(made.comment) > COMMENT_CHARS_MAX:
        return msgspec.structs.replace(made, comment=cut(made.comment, COMMENT_CHARS_MAX - len(CUT)))
    return made


async def _mark(online: OnlineScorer, record: InferenceRecord) -> Mark:
    record = in_chat(record)
    if record.response is None and not isinstance(online.spec, _TEXTLESS):
        return unscored("the answer was not kept: bodies are off, or erased")
    return await judged(online.scorer, _item(online.spec, record), _answer(record))


def _item(spec: Spec, record: InferenceRecord) -> Item:
    """What was asked. A schema that the request asked for is what `json_schema` expects; nothing else is
    expected of a live call."""
    asked = record.request if isinstance(record.request, dict) else {}
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        prompt = asked.get("prompt")
        messages = [{"role": "user", "content": prompt if isinstance(prompt, str) else ""}]
    expected = _asked_schema(record) if isinstance(spec, JsonSchema) else None
    variables = asked.get("prompt_variables")
    return Item(
        id=record.id,
        input=Input(messages=tuple(messages), variables=variables if isinstance(variables, dict) else {}),
        expected=expected,
        record=record.id,
        user=record.user,
    )


def _answer(record: InferenceRecord) -> Answer:
    """What was answered."""
    choices = record.response.get("choices") if isinstance(record.response, dict) else None
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    message = message if isinstance(message, dict) else {}
    text = first.get("text")
    refusal = message.get("refusal")
    return Answer(
        text=text if isinstance(text, str) else flat_text(message.get("content")),
        refusal=refusal if isinstance(refusal, str) else None,
        finish_reason=record.finish_reason,
        tool_calls=message.get("tool_calls"),
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cost_usd=record.cost_usd,
        latency_ms=record.latency_ms,
        release=record.release,
        record=record.id,
    )


def _asked_schema(record: InferenceRecord) -> dict[str, Any] | None:
    """The schema of a request's `response_format`."""
    asked = record.request if isinstance(record.request, dict) else {}
    wanted = asked.get("response_format")
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    return schema if isinstance(schema, dict) else None


def scorer_of(written: str | dict[str, Any]) -> Spec:
    """A scorer as the configuration has it. Raises WrongCall for one that is none, or is in a file."""
    if isinstance(written, str):
        return read_spec(written, load=_no_file)
    return spec_from(_floats(written))


def _no_file(name: str) -> str:
    raise WrongCall(
        f"{name} names a file, which no applied configuration may; write the schema into a table: "
        '{ kind = "json_schema", schema = { … } }'
    )


def _floats(value: Any) -> Any:
    """Numbers as scorers take them: the configuration is read with decimals."""
    if isinstance(value, dict):
        return {name: _floats(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_floats(inner) for inner in value]
    return float(value) if isinstance(value, Decimal) else value


def lacking(spec: Spec) -> str | None:
    """What a scorer takes from an item and not from its spec, and no live call has; None where that is
    nothing."""
    match spec:
        case Exact():
            return "compares with an expected answer"
        case ToolCalls():
            return "compares with expected calls"
        case PairwiseJudge():
            return "compares two answers"
        case Contains(texts=()):
            return "looks for an expected text (or give it `texts`)"
        case Regex(pattern=None):
            return "takes its pattern from what is expected (or give it `pattern`)"
        case _:
            return None
