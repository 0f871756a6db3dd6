"""The configuration's text from the disk, with the content of the files that it names."""

from __future__ import annotations

import codecs
import difflib
from pathlib import Path

from airboss.config.found import unasked
from airboss.config.inline import inlined
from airboss.config.parse import MAX_CONFIG_BYTES, parse_config, read_unchecked
from airboss.config.wording import quoted
from airboss.domain.errors import ConfigError

STARTER_FILE = "airboss.toml"
"""What a first start writes where it is not there; a file of another name was meant to be."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SHOWN_CHARS = 30


def read_config(path: Path) -> str:
    """The text to apply: complete in itself, and not yet checked where it names no file.

    Raises OSError where the file cannot be read; ConfigError where it is no UTF-8 text or too long, and for
    files it names that cannot be read. Where it names files it is checked whole: their content moves the
    lines, and who applies it should be told those that stand in the file. Where providers are to be asked
    what they list, names may not be there yet, and it is checked after that.
    """
    text = read_text(path)

    def beside(name: str) -> str:
        return read_text(path.parent / name, source=name)

    whole = inlined(text, source=str(path), read=beside)
    if whole != text:
        placed = inlined(text, source=str(path), read=beside, in_place=True)
        if not unasked(read_unchecked(placed, source=str(path))):
            parse_config(placed, source=str(path))
    return whole


def read_text(path: Path, *, source: str | None = None) -> str:
    """A text of at most MAX_CONFIG_BYTES, without the mark that some editors put before it.

    Raises OSError where it cannot be read, and ConfigError, which calls it `source`, for anything else.
    """
    source = source or str(path)
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{source}: over {MAX_CONFIG_BYTES:,} bytes, which no configuration and no file of one is; is"
            " this the right file?"
        )
    if data.startswith(_UTF16):
        raise ConfigError(f"{source}:1: this is UTF-16; save it as UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line, before = data.count(b"\n", 0, error.start) + 1, data[: error.start].rpartition(b"\n")[2]
        seen = before.decode("utf-8", "replace")[-_SHOWN_CHARS:]
        raise ConfigError(
            f"{source}:{line}: the byte 0x{data[error.start]:02x} after {quoted(seen)} is not UTF-8; save the"
            " file as UTF-8"
        ) from None


def missing(path: Path) -> str:
    """That there is no such file, and which one may be meant."""
    there = sorted(each.name for each in path.parent.glob("*.toml"))
    near = difflib.get_close_matches(path.name, there, n=1) or there[:1]
    meant = f"is {path.with_name(near[0])} meant?" if near else "give the path of one."
    return f"there is no {path}; {meant} Without --config the first start writes a starter, {STARTER_FILE}"
