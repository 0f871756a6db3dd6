"""What is said of a path that is no route."""

from __future__ import annotations

import pytest

from airboss.gateway.routes import instead_of


@pytest.mark.parametrize(
    ("path", "meant", "words"),
    [
        ("/chat/completions", "'/v1/chat/completions'", "ends in /v1"),
        ("/v1/v1/chat/completions", "'/v1/chat/completions'", "ends in /v1"),
        ("/v1/chat/completions/responses", "'/v1/responses'", "nothing behind it"),
        ("/models", "'/v1/models'", "ends in /v1"),
        ("/v1/v1/messages", "'/v1/messages'", "ends before /v1"),
        ("/v1/assistants", "/v1/chat/completions, /v1/completions", "there are"),
    ],
)
def test_a_wrong_base_url_is_told_as_that(path: str, meant: str, words: str) -> None:
    """It has too little or too much; what is quite another route is told which there are."""
    said = instead_of(path)
    assert meant in said
    assert words in said
