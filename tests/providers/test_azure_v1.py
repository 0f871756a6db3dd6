"""Azure's routes: by a dated version under the deployment, by a named one under its v1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.plan import Target
from airboss.domain.request import Operation
from airboss.providers.dialects import azure, azure_path


def target(version: str | None) -> Target:
    """A deployment at Azure."""
    return Target(
        provider="a",
        kind="azure",
        base_urls=("https://me.openai.azure.com",),
        upstream_model="my gpt",
        api_version=version,
    )


@pytest.mark.parametrize(
    ("version", "place", "query"),
    [
        (None, "/openai/deployments/my%20gpt", "2024-10-21"),
        ("2025-04-01-preview", "/openai/deployments/my%20gpt", "2025-04-01-preview"),
        ("v1", "/openai/v1", "v1"),
        ("preview", "/openai/v1", "preview"),
    ],
)
@pytest.mark.parametrize(
    ("operation", "path"),
    [("chat", "/chat/completions"), ("text_completion", "/completions"), ("embeddings", "/embeddings")],
)
def test_where_a_route_is(
    version: str | None, place: str, query: str, operation: Operation, path: str
) -> None:
    """The body names the deployment in any case."""
    body: dict[str, Any] = {"model": "my gpt", "input": "x"}
    made = azure(json.dumps(body).encode(), target(version), operation)
    assert (made.path, json.loads(made.body)) == (f"{place}{path}?api-version={query}", body)


def test_a_route_of_no_model() -> None:
    """Files, say, are no deployment's."""
    assert azure_path(target(None), "/files", of_model=False) == "/openai/files?api-version=2024-10-21"
    assert azure_path(target("v1"), "/files", of_model=False) == "/openai/v1/files?api-version=v1"
