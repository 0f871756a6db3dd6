"""Which of the fake provider's routes speaks which dialect, and the refusals of each."""

from __future__ import annotations

import re
from urllib.parse import unquote

from airboss.domain.errors import ApiError
from airboss.providers.fake_answers import Call, Tongue
from airboss.providers.fake_anthropic import Anthropic, read_messages
from airboss.providers.fake_bedrock import Bedrock, read_converse
from airboss.providers.fake_gemini import Gemini, read_generate
from airboss.providers.fake_responses import PATH as RESPONSES
from airboss.providers.fake_responses import Responses, read_responses

_GEMINI = re.compile(r"/v1(?:beta)?/models/([^/:]+):(streamGenerateContent|generateContent)")
_BEDROCK = re.compile(r"/model/([^/]+)/(converse-stream|converse)")
_MESSAGES = "/v1/messages"
_RESPONSES = frozenset({RESPONSES, f"/openai{RESPONSES}"})
"""OpenAI's, and where Azure has it."""


def is_foreign(path: str) -> bool:
    """Whether a route has a dialect of its own."""
    return path in {_MESSAGES, *_RESPONSES} or bool(_GEMINI.fullmatch(path) or _BEDROCK.fullmatch(path))


def tongue_of(path: str) -> Tongue | None:
    """The tongue that a route answers in; None for OpenAI's."""
    if path == _MESSAGES:
        return Anthropic()
    if path in _RESPONSES:
        return Responses()
    if _GEMINI.fullmatch(path):
        return Gemini()
    return Bedrock() if _BEDROCK.fullmatch(path) else None


def read_foreign(path: str, body: bytes, authorization: str) -> Call | None:
    """Read a request of another provider's; None if the route is none of theirs. Raises InvalidRequest."""
    if path == _MESSAGES:
        return read_messages(path, body, authorization)
    if path in _RESPONSES:
        return read_responses(path, body, authorization)
    found = _GEMINI.fullmatch(path)
    if found is not None:
        stream = found[2].startswith("stream")
        return read_generate(path, body, authorization, model=unquote(found[1]), stream=stream)
    found = _BEDROCK.fullmatch(path)
    if found is not None:
        stream = found[2].endswith("stream")
        return read_converse(path, body, authorization, model=unquote(found[1]), stream=stream)
    return None


def refusal(path: str, error: ApiError) -> bytes | None:
    """The body of an answer that says no, as the route's provider would; None for OpenAI's."""
    tongue = tongue_of(path)
    return None if tongue is None or path in _RESPONSES else tongue.error(error.http_status, error.message)
