"""What the API's description says of an answer."""

from __future__ import annotations

from typing import Any


def assert_as_described(document: Any, method: str, path: str, answer: Any) -> None:
    """The answer of a route has just the fields that the OpenAPI document says; `path` is as in the table."""
    answers = document["paths"][path][method.lower()]["responses"]["200"]["content"]
    name = answers["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(answer) == set(document["components"]["schemas"][name]["properties"]), path
