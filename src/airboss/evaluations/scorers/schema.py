"""A JSON schema, and where a value does not fit it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from airboss.domain.errors import WrongCall
from airboss.evaluations.scorers.regex import compiled

SCHEMA_BYTES_MAX: Final = 256 * 1024


class Schema:
    """The schema in a JSON text. Raises WrongCall where it is none."""

    def __init__(self, text: bytes) -> None:
        if len(text) > SCHEMA_BYTES_MAX:
            raise WrongCall(f"a schema of {len(text)} bytes; at most {SCHEMA_BYTES_MAX}")
        schema = msgspec.json.decode(text)
        # A default of None tells apart a draft that is not known, which would else be taken for the newest.
        draft = validators.validator_for(
            schema, default=None if "$schema" in schema else Draft202012Validator
        )
        if draft is None:
            raise WrongCall(f"the schema is of {schema['$schema']!r}, a draft that is not known")
        try:
            draft.check_schema(schema)
        except SchemaError as error:
            raise WrongCall(f"no schema: at {error.json_path}: {error.message}") from error
        # An empty registry fetches nothing; the library's default would ask the network.
        own = {"pattern": _pattern, "patternProperties": _pattern_properties}
        self._validator = validators.extend(draft, own)(schema, registry=Registry())

    def fault_of(self, value: object) -> str | None:
        """Where a JSON value has its first fault, and which rule says so; None where it fits. Raises
        WrongCall where that cannot be said."""
        try:
            fault = next(iter(self._validator.iter_errors(value)), None)
        except Unresolvable as error:
            raise WrongCall(f"the schema refers to {error.ref!r}, which it does not hold") from error
        except RecursionError:
            raise WrongCall("the schema or the answer is nested too deep") from None
        return None if fault is None else f"at {fault.json_path}: {fault.validator}"


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
