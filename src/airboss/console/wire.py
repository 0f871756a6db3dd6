"""JSON on the wire: one encoder, one error body, bounded bodies."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airboss.domain.errors import ApiError, BodyTooLarge

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(value: object) -> bytes:
    """A value as JSON; money as numbers, times in RFC 3339.

    A lone surrogate, which UTF-8 cannot hold, goes out as it came: escaped.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, builtin_types=(Decimal,)), default=float).encode()


def json_response(value: object, *, status: int = 200) -> Response:
    """Any value as a JSON answer."""
    return Response(encode(value), status_code=status, media_type="application/json")


def error_json(error: ApiError) -> Response:
    """An error in OpenAI's shape."""
    body = {"message": error.message, "type": error.type, "code": error.code, "param": error.param}
    return json_response({"error": body}, status=error.http_status)


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge beyond `limit` bytes, without reading further."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limit:,} bytes, the most that is read here")
