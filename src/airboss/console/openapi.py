"""The OpenAPI document, made from the table of routes, so that it cannot say what they do not do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from airboss import __version__
from airboss.console.api import Route
from airboss.governance.roles import MAY


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong: the value seen, and the next step."""

    message: str
    type: str
    code: str | None
    param: str | None


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's error shape."""

    error: ErrorDetail


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document for these routes."""
    bodies = [route.body for route in routes if route.body not in {None, bytes}]
    types = [*(answer_of(route) for route in routes), *bodies, ErrorBody]
    schemas, components = msgspec.json.schema_components(
        list(dict.fromkeys(types)), ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(dict.fromkeys(types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Airboss admin API",
            "version": __version__,
            "description": "Reads records and status, writes intents. Needs the admin key, or a console key "
            "with the role that each route names.",
        },
        "security": [{"adminKey": []}],
        "paths": paths,
        "components": {
            "schemas": money_as_numbers(components),
            "securitySchemes": {"adminKey": {"type": "http", "scheme": "bearer"}},
        },
    }


def answer_of(route: Route) -> Any:
    """The type of what it answers."""
    return get_type_hints(route.handle)["return"] if route.answer is None else route.answer


def operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    """One route's entry."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": words, "schema": {"type": "string"}}
        for name, words in route.params.items()
    ]
    entry: dict[str, Any] = {
        "summary": route.summary,
        "description": f"Needs the role {route.role}: one who {MAY[route.role]}.",
        "operationId": route.handle.__name__,
        "x-airboss-role": route.role,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", "content": content(schemas[answer_of(route)])},
            "default": {"description": "An error", "content": content(schemas[ErrorBody])},
        },
    }
    if route.body is bytes:
        raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        entry["requestBody"] = {"required": True, "content": raw}
    elif route.body is not None:
        entry["requestBody"] = {"required": True, "content": content(schemas[route.body])}
    return entry


def content(schema: Any) -> dict[str, Any]:
    """A JSON body of this schema."""
    return {"application/json": {"schema": schema}}


def money_as_numbers(value: Any) -> Any:
    """Decimals are described as strings by msgspec, and are sent as numbers by our encoder."""
    if isinstance(value, dict):
        if value.get("format") == "decimal":
            return {"type": "number"}
        return {name: money_as_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [money_as_numbers(inner) for inner in value]
    return value
