"""Whether the answer is JSON that fits a schema."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import text_of

if TYPE_CHECKING:
    from airboss.evaluations.scorers.schema import Schema

ANSWER_CHARS_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 200
"""Levels of an answer. Python's own limit differs between versions, and a mark must not."""


class JsonSchema(
    msgspec.Struct, frozen=True, kw_only=True, tag="json_schema", tag_field="kind", forbid_unknown_fields=True
):
    """Yes if the answer is JSON that fits `schema`; without `schema`, the item's `expected`.

    Schemas are of draft 2020-12 unless `$schema` says otherwise; references point within the schema, nothing
    is fetched. `format` is not checked, as the draft has it. A fence of three back-quotes around the JSON is
    taken off with `fenced`. The comment of a no says where the first fault is, not what stands there.
    """

    name: str = "json_schema"
    schema: dict[str, Any] | None = None
    fenced: bool = False

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a schema that is none at once, not at the first item."""
        if self.schema is not None:
            ready(msgspec.json.encode(self.schema))

    async def mark(self, item: Item, answer: Answer) -> Mark:
        """As `Scorer.mark`."""
        wanted = self.schema if self.schema is not None else item.expected
        if not isinstance(wanted, dict):
            return unscored(f"{self.name} needs a schema; the item expects: {wanted!r}")
        try:
            schema = ready(msgspec.json.encode(wanted))
        except WrongCall as error:
            return unscored(f"{self.name} needs another schema: {error}")
        said = unfenced(text_of(answer)) if self.fenced else text_of(answer)
        return _fits(schema, said)


def _fits(schema: Schema, said: str) -> Mark:
    if len(said) > ANSWER_CHARS_MAX:
        return scored(False, f"longer than {ANSWER_CHARS_MAX} characters")
    try:
        value = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return scored(False, "not JSON")
    if _deeper(value, DEPTH_MAX):
        return scored(False, f"nested more than {DEPTH_MAX} levels deep")
    try:
        fault = schema.fault_of(value)
    except WrongCall as error:
        return unscored(f"what is asked for cannot be judged: {error}")
    return scored(True) if fault is None else scored(False, fault)


def _deeper(value: object, levels: int) -> bool:
    """Whether a JSON value has more levels than `levels`; level by level, so that it cannot recurse."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def unfenced(text: str) -> str:
    """A text without the fence around it."""
    lines = text.strip().splitlines()
    if len(lines) >= 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text


@lru_cache(maxsize=64)
def ready(text: bytes) -> Schema:
    """The schema in this JSON text. Raises WrongCall where it is none."""
    from airboss.evaluations.scorers.schema import Schema  # noqa: PLC0415 - jsonschema, 8 MB, where it is needed

    return Schema(text)
