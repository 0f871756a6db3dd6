"""The event `gen_ai.evaluation.result` of OpenTelemetry's conventions, read: what a score says. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.domain.score import ScoreValue
from airboss.store.opinions import COMMENT_CHARS_MAX, YES_NO, check_name, check_value
from airboss.telemetry.otlp_read import NAME_CHARS_MAX, Wrong

EVENT: Final = "gen_ai.evaluation.result"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says: exactly one of `value` and `unscored` is set, as in `Score`. `label` is what it
    says beside a number; `answer_id` is the `gen_ai.response.id` of what was judged, "" for none."""

    name: str
    value: ScoreValue | None
    unscored: str | None
    label: str | None
    explanation: str | None
    answer_id: str

    def comment(self, kept: Callable[[str, int], str], *, content: bool) -> str | None:
        """What is kept beside the value, as `kept` makes so many characters of a text; `content` False leaves
        the explanation out, which may quote."""
        said = ": ".join(filter(None, (self.label, self.explanation if content else None)))
        found = kept(said, COMMENT_CHARS_MAX + 1)
        if len(found) > COMMENT_CHARS_MAX:
            mark = f"[cut: over {COMMENT_CHARS_MAX} characters]"
            found = found[: COMMENT_CHARS_MAX - len(mark)] + mark
        return found or None


def read(given: Mapping[str, Any]) -> Evaluation:
    """What the attributes of an event say. Raises Wrong for what can be no score."""
    name = _NO_NAME.sub("_", _text(given.get("gen_ai.evaluation.name")))
    number, label = (
        _number(given.get("gen_ai.evaluation.score.value")),
        _text(given.get("gen_ai.evaluation.score.label")),
    )
    said = YES_NO.get(label.lower())
    value: ScoreValue | None = number
    if said is not None and number in {None, float(said)}:  # a number beside it says the same
        value, label = said, ""
    elif number is None and label:
        value, label = label, ""
    failed = _text(given.get("error.type")) if value is None else ""
    if value is None and not failed:
        raise Wrong(f"evaluation {name[:80]!r} has no score.value, no score.label and no error.type")
    try:
        check_name(name)
        if value is not None:
            check_value(value)
    except InvalidRequest as error:
        raise Wrong(f"evaluation {name[:80]!r}: {error}") from None
    answer = _text(given.get("gen_ai.response.id"))
    return Evaluation(
        name=name,
        value=value,
        unscored=failed or None,
        label=label or None,
        explanation=_text(given.get("gen_ai.evaluation.explanation")) or None,
        answer_id=answer if len(answer) <= NAME_CHARS_MAX and answer.isprintable() else "",
    )


def _number(value: Any) -> float | None:
    """A score's number. Raises Wrong for what is none."""
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Wrong(f"gen_ai.evaluation.score.value is {str(value)[:80]!r}, which is no finite number")
    return float(value)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
