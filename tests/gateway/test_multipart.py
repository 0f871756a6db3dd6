"""What a form's file is called, for its record."""

from __future__ import annotations

import pytest

from airboss.gateway.multipart import parts_of


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b'filename="a.wav"', "a.wav"),
        ('filename="Grüße \\"日本\\".wav"'.encode(), 'Grüße "日本".wav'),
        (b"filename*=utf-8''Gr%C3%BC%C3%9Fe.wav", "Grüße.wav"),
        (b'filename="Gr\xfc.wav"', "Gr\ufffd.wav"),
        ('filename=""; x="ü"'.encode(), ""),
        ('x="filename=ü"'.encode(), None),
    ],
)
def test_a_files_name(head: bytes, named: str | None) -> None:
    """In UTF-8, as browsers and OpenAI's clients send it, in RFC 2231's way, or in none that can be read."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; ' + head + b"\r\n\r\nRIFF\r\n--b--\r\n"
    (part,) = parts_of(body, b"b")
    assert (part.name, part.filename, body[part.start : part.end]) == ("file", named, b"RIFF")


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u3000"])
def test_what_is_a_blank_to_some_is_none(blank: str) -> None:
    """What a field is called is read of the bytes: whoever knows no other blanks reads the same."""
    head = f'Content-Disposition: form-data; name="file";{blank}name="model"; filename="ü"'
    (part,) = parts_of(f"--b\r\n{head}\r\n\r\nRIFF\r\n--b--\r\n".encode(), b"b")
    assert part.name == "file"
