"""`multipart/form-data`, read as far as it must be: which fields there are, and where they stand. Pure."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesHeaderParser, HeaderParser

import msgspec

from airboss.domain.errors import InvalidRequest

PARTS_MAX = 256
HEAD_BYTES_MAX = 8 * 1024
BOUNDARY_CHARS_MAX = 70
"""RFC 2046's own limit."""

_parse_head = BytesHeaderParser().parsebytes
_NAME = re.compile(r"[ !#-\[\]-~]+")
"""A name that all readers read alike: some end at a NUL, or take a backslash for a part of it, others not."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One field: a file where `filename` is not None. Its bytes are `body[start:end]`."""

    name: str
    filename: str | None
    content_type: str | None
    start: int
    end: int


def boundary_of(content_type: str) -> bytes:
    """The boundary that a content type names. Raises InvalidRequest."""
    header = Message()
    header["content-type"] = content_type
    boundary = None if _contradicts(content_type) else header.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= BOUNDARY_CHARS_MAX or not boundary.isascii():
        raise _broken("its content-type names no boundary")
    return boundary.encode()


def parts_of(body: bytes, boundary: bytes) -> list[Part]:
    """The fields, in their order. Raises InvalidRequest for what another reader might read otherwise."""
    dash = b"--" + boundary
    if not body.startswith(dash + b"\r\n"):
        raise _broken("it does not begin with its boundary")
    parts: list[Part] = []
    at = len(dash) + 2
    while True:
        head_end = body.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX)
        end = body.find(b"\r\n" + dash, head_end) if head_end >= 0 else -1
        if end < 0:
            raise _broken(f"part {len(parts)} has no end, or a head over {HEAD_BYTES_MAX} bytes")
        if len(parts) >= PARTS_MAX:
            raise _broken(f"it has more than {PARTS_MAX} parts")
        # A part without content ends with the line that ends its head.
        parts.append(_part(body[at:head_end], len(parts), start=min(head_end + 4, end), end=end))
        at = end + 2 + len(dash)
        after = body[at : at + 2]
        if after == b"--":
            return parts
        if after != b"\r\n":
            raise _broken(f"what follows part {len(parts) - 1} is no boundary")
        at += 2


def _part(head: bytes, number: int, *, start: int, end: int) -> Part:
    message = _parse_head(head)
    if _contradicts(str(message.get("content-disposition", ""))):
        raise _broken(f"part {number} has a content-disposition that contradicts itself")
    try:
        name = message.get_param("name", header="content-disposition")
        filename = message.get_filename()
        if filename is not None and not head.isascii():
            # All else is read of the bytes: of characters some are blanks, which not every reader knows.
            filename = HeaderParser().parsestr(head.decode("utf-8", "replace")).get_filename(filename)
    except ValueError:
        raise _broken(f"part {number} has a content-disposition in a charset that cannot be") from None
    if message.get_content_disposition() != "form-data" or not isinstance(name, str):
        raise _broken(f"part {number} has no name as form-data")
    if len(message.get_all("content-disposition", [])) > 1 or message.get("content-transfer-encoding"):
        raise _broken(f"part {number} can be read in two ways")
    if not _NAME.fullmatch(name):
        raise _broken(f"part {number} has the name {name[:60]!r}, which is not plain ASCII")
    kind = message.get("content-type")
    return Part(
        name=name,
        filename=filename,
        content_type=str(kind) if kind is not None else None,
        start=start,
        end=end,
    )


def _contradicts(header: str) -> bool:
    """Whether readers may differ over its parameters: one is there twice, or in pieces or in a charset of its
    own (RFC 2231), which each Python joins otherwise and many do not know. A file's name is often there in
    both ways, and decides nothing."""
    names = [part.partition("=")[0].strip().lower() for part in _QUOTED.sub("", header).split(";")[1:]]
    return len(set(names)) < len(names) or any("*" in name and name != "filename*" for name in names)


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"the body is no multipart/form-data that can be read: {why}; send it as a form", code="invalid_form"
    )
