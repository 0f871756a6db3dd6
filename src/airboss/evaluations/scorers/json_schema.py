"""Whether the answer is JSON that fits a schema."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec
from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import Mark, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import text_of
from airboss.evaluations.scorers.regex import compiled

SCHEMA_BYTES_MAX: Final = 256 * 1024
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
        schema = self.schema if self.schema is not None else item.expected
        if not isinstance(schema, dict):
            return unscored(f"{self.name} needs a schema, and the item expects {schema!r}")
        try:
            validator = ready(msgspec.json.encode(schema))
        except WrongCall as error:
            return unscored(str(error))
        said = unfenced(text_of(answer)) if self.fenced else text_of(answer)
        return _fits(validator, said)


def _fits(validator: Any, said: str) -> Mark:
    if len(said) > ANSWER_CHARS_MAX:
        return scored(False, f"longer than {ANSWER_CHARS_MAX} characters")
    try:
        value = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return scored(False, "not JSON")
    if _deeper(value, DEPTH_MAX):
        return scored(False, f"nested more than {DEPTH_MAX} levels deep")
    try:
        fault = next(iter(validator.iter_errors(value)), None)
    except Unresolvable as error:
        return unscored(f"the schema refers to {error.ref!r}, which it does not hold")
    except RecursionError:
        return unscored("the schema or the answer is nested too deep")
    return scored(True) if fault is None else scored(False, f"at {fault.json_path}: {fault.validator}")


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
def ready(text: bytes) -> Any:
    """A validator for the schema in this JSON text. Raises WrongCall where it is none."""
    if len(text) > SCHEMA_BYTES_MAX:
        raise WrongCall(f"a schema of {len(text)} bytes; at most {SCHEMA_BYTES_MAX}")
    schema = msgspec.json.decode(text)
    # A default of None tells apart a draft that is not known, which would else be taken for the newest.
    draft = validators.validator_for(schema, default=None if "$schema" in schema else Draft202012Validator)
    if draft is None:
        raise WrongCall(f"the schema is of {schema['$schema']!r}, a draft that is not known")
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise WrongCall(f"no schema: at {error.json_path}: {error.message}") from error
    # An empty registry fetches nothing; the library's default would ask the network.
    return validators.extend(draft, {"pattern": _pattern, "patternProperties": _pattern_properties})(
        schema, registry=Registry()
    )


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """`pattern` by RE2: answers are not trusted, and Python's own matching can be made to hang."""
    if isinstance(value, str) and not compiled(pattern).search(value):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for key, held in value.items():
            if compiled(pattern).search(key):
                yield from validator.descend(held, schema, path=key, schema_path=pattern)
