"""What comes and goes: JSON with one encoder and one error body, forms, bounded bodies, paths of ours."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airboss.domain.errors import ApiError, BodyTooLarge, InvalidRequest
from airboss.providers.cut import NAME_CHARS_MAX, brief, cut

FORM_MAX = 16 * 1024
FIELDS_MAX = 64

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
    """An error in OpenAI's shape, however long what it says again."""
    param = error.param and cut(error.param, NAME_CHARS_MAX)
    body = {"message": brief(error.message), "type": error.type, "code": error.code, "param": param}
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


async def read_form(request: Request) -> dict[str, str]:
    """A small urlencoded form."""
    return {name: values[0] for name, values in (await read_fields(request, limit=FORM_MAX)).items()}


async def read_fields(request: Request, *, limit: int) -> dict[str, tuple[str, ...]]:
    """A urlencoded form of at most `limit` bytes: every value of each field. Raises InvalidRequest."""
    body = await read_body(request, limit=limit)
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise InvalidRequest(f"the form cannot be read: {error}") from None
    return {name: tuple(values) for name, values in fields.items()}


def own_path(wanted: str | None) -> str:
    """`wanted` if it is a path of ours, else the first page: a login must not lead elsewhere."""
    if wanted is None or not wanted.startswith("/") or wanted[1:2] in ("/", "\\") or not wanted.isprintable():
        return "/"
    parts = urlsplit(wanted)
    return wanted if not parts.scheme and not parts.netloc and len(wanted) < 2_000 else "/"
