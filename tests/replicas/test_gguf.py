"""What is read from a model's metadata, and that no file can hang or crash the reader."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import SetupError
from airboss.replicas.gguf import MAX_KEPT_BYTES, GgufMetadata, chat_template, read_metadata, supports_tools
from tests.support.engine import starter_weights

TOOL_TEMPLATE = "{% if tools %}{{ tools }}{% endif %}"


def text(value: str | bytes) -> bytes:
    """A string as GGUF writes it: its length, then its bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    """One key with its value."""
    return text(key) + struct.pack("<I", kind) + value


def array(element: int, count: int, items: bytes) -> bytes:
    """An array's value."""
    return struct.pack("<IQ", element, count) + items


def header(*pairs: bytes, version: int = 3, claimed: int | None = None) -> bytes:
    """The beginning of a file; `claimed` is the number of keys it says it has."""
    count = len(pairs) if claimed is None else claimed
    return b"GGUF" + struct.pack("<IQQ", version, 0, count) + b"".join(pairs)


ARCHITECTURE = pair("general.architecture", 8, text("llama"))


def read(tmp_path: Path, data: bytes) -> GgufMetadata:
    """Metadata of a file with these bytes."""
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return read_metadata(path)


@pytest.mark.parametrize("version", [2, 3])
def test_the_keys_we_use(tmp_path: Path, version: int) -> None:
    """Name, template and context of the file's own architecture are found among other values."""
    data = header(
        pair("a.u8", 0, b"\1"),
        pair("a.f64", 12, struct.pack("<d", 1.5)),
        pair("other.context_length", 4, struct.pack("<I", 99)),
        pair("llama.context_length", 4, struct.pack("<I", 8192)),
        pair("tokenizer.tokens", 9, array(8, 2, text("a") + text("b"))),
        pair("a.numbers", 9, array(4, 3, b"\0" * 12)),
        pair("a.nested", 9, array(9, 1, array(7, 1, b"\1"))),
        ARCHITECTURE,
        pair("general.name", 8, text("Größe")),
        pair("tokenizer.chat_template", 8, text(TOOL_TEMPLATE)),
        version=version,
    )
    assert read(tmp_path, data) == GgufMetadata(
        architecture="llama", name="Größe", chat_template=TOOL_TEMPLATE, context_tokens=8192
    )


def test_what_the_file_does_not_say(tmp_path: Path) -> None:
    """A file without keys says nothing; a context of 0 or of another type is none."""
    assert read(tmp_path, header()) == GgufMetadata()
    assert read(tmp_path, header(ARCHITECTURE, pair("llama.context_length", 4, b"\0" * 4))) == GgufMetadata(
        architecture="llama"
    )
    assert read(tmp_path, header(pair("general.name", 4, b"\0" * 4))).name is None
    assert read(tmp_path, header(pair("general.name", 8, text(b"\xff")))).name == "\ufffd"


DEEP = b"".join(struct.pack("<IQ", 9, 1) for _ in range(9))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends in the middle"),
        (b"PK\3\4" + b"\0" * 30, "does not begin with GGUF"),
        (header(version=1), "version 1, and 2 and 3"),
        (header()[:20], "ends in the middle"),
        (header(claimed=1), "ends in the middle"),
        (header(claimed=2**60), "claims 1152921504606846976 metadata keys"),
        (header(struct.pack("<Q", 2**63)), "a string of 9223372036854775808 bytes"),
        (header(pair("a", 99, b"")), "unknown type 99"),
        (header(pair("a", 9, DEEP)), "unknown type 9"),
        (header(pair("a", 9, array(12, 2**63, b""))), "ends in the middle"),
        (header(pair("a", 9, array(8, 2**63, text("x")))), "ends in the middle"),
        (header(pair("a", 8, struct.pack("<Q", 2**62))), "ends in the middle"),
        (header(pair("general.name", 8, text(b"x" * (MAX_KEPT_BYTES + 1)))), "1048576 are the most expected"),
    ],
)
def test_files_that_lie(tmp_path: Path, data: bytes, says: str) -> None:
    """Each lie about a length, count or type is a clear error that names the file and the way out."""
    with pytest.raises(SetupError, match=says) as raised:
        read(tmp_path, data)
    assert str(tmp_path / "m.gguf") in str(raised.value)
    assert "Fetch it again" in str(raised.value) or data == b""


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is a SetupError with its path."""
    with pytest.raises(SetupError, match=r"none.gguf cannot be read: No such file"):
        read_metadata(tmp_path / "none.gguf")
    with pytest.raises(SetupError, match="cannot be read: Is a directory"):
        read_metadata(tmp_path)


numbers = st.integers(0, 2**64 - 1).map(lambda n: struct.pack("<Q", n))
small = st.integers(0, 14).map(lambda n: struct.pack("<I", n))
pieces = st.lists(
    st.one_of(numbers, small, st.binary(max_size=20).map(text), st.binary(max_size=9)), max_size=30
)
wrecks = st.one_of(st.binary(max_size=200), pieces.map(lambda p: header(b"".join(p), claimed=20)))


@given(wrecks)
def test_garbage_ends_in_a_domain_error(data: bytes) -> None:
    """Whatever the bytes, reading ends at once, with metadata or a SetupError and no other error."""
    with TemporaryDirectory() as folder:
        try:
            found = read(Path(folder), data)
        except SetupError:
            return
    assert isinstance(found, GgufMetadata)


@given(st.integers(0, 400))
def test_a_file_cut_anywhere(length: int) -> None:
    """A good header cut at any byte is a SetupError."""
    whole = header(ARCHITECTURE, *(pair(f"k{i}", 9, array(8, 1, text("x"))) for i in range(12)))
    with TemporaryDirectory() as folder, pytest.raises(SetupError, match="ends in the middle"):
        read(Path(folder), whole[: min(length, len(whole) - 1)])


def test_the_starter_model() -> None:
    """The starter weights have a chat template, without a place for tools."""
    template = chat_template(starter_weights())
    assert template is not None
    assert "messages" in template
    assert supports_tools(template) is False
    assert read_metadata(starter_weights()).context_tokens == 8192


def test_templates_with_tools() -> None:
    """A template with tools supports them; no template supports none."""
    assert supports_tools(TOOL_TEMPLATE)
    assert not supports_tools(None)
