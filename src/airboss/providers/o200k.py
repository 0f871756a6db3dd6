"""How many tokens a text is, by the tokenizer of OpenAI's models since GPT-4o (`o200k_base`).

It counts where a provider does not say. For other vendors' models it is an estimate, and much nearer than
the number of characters. `data/o200k.xz` is OpenAI's own list, by rank, each token behind its length: the
0.8 MB of it become 35 MB and take a tenth of a second to read, which only who needs it pays.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import threading
from functools import lru_cache
from importlib import resources
from typing import Any, Final

EXACT_CHARS: Final = 16_384
"""A longer text is counted in parts, and the rest by what they came to: a millisecond is 2,000 characters."""
PARTS: Final = 4
CHARS_PER_TOKEN: Final = 4
"""Where the list cannot be read."""
_PIECE_BYTES: Final = 64
"""A word that is longer is counted in pieces: merging takes the square of the length."""
_SHA256: Final = "bac143fe7fe950090c6e4ed9a2f80de5412a92495758b52becbbe5a7eea25ecb"
_CASED: Final = r"[\p{Lm}\p{Lo}\p{M}"
_SHORT: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_WORDS: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_CASED}\p{{Lu}}\p{{Lt}}]*{_CASED}\p{{Ll}}]+{_SHORT}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_CASED}\p{{Lu}}\p{{Lt}}]+{_CASED}\p{{Ll}}]*{_SHORT}"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*"
    r"|\s*[\r\n]+"
    r"|\s+"
)
"""OpenAI's, but for the space before a word, which no pattern without lookahead can leave: `_words` does."""


log = logging.getLogger(__name__)
_loading = threading.Lock()
"""Held while the list is read: calls that end at once would each have it in memory for a moment."""


def count(text: str) -> int:
    """The number of tokens; exact up to EXACT_CHARS characters, beyond that from PARTS stretches."""
    if not (ready() or load()):
        return -(-len(text) // CHARS_PER_TOKEN)
    if len(text) <= EXACT_CHARS:
        return _count(text)
    size = EXACT_CHARS // PARTS
    step = (len(text) - size) // (PARTS - 1)
    counted = sum(_count(text[start : start + size]) for start in range(0, step * PARTS, step)[:PARTS])
    return max(1, counted * len(text) // EXACT_CHARS)


def ready() -> bool:
    """Whether `count` answers at once: the list has been read."""
    return _ranks.cache_info().currsize > 0


def load() -> bool:
    """Read the list, so that nobody waits for it later; of several threads one reads. False where it cannot
    be read, as where no more files may be open: a call's end is recorded all the same."""
    with _loading:
        try:
            _pattern()
            _ranks()
        except (OSError, ImportError) as error:
            log.warning("tokens are estimated, for the tokenizer cannot be read: %s", error)
            return False
    return True


def _count(text: str) -> int:
    return sum(_tokens(word) for word in _words(text.encode("utf-8", "replace")))


def _words(data: bytes) -> list[bytes]:
    """The words that no token spans. The last white space before a word stands alone or belongs to it."""
    words: list[bytes] = []
    space = b""
    for match in _pattern().finditer(data):
        word = match[0]
        if space:
            letter = word[:1].isalpha() or word[0] >= 0x80
            # A digit takes no white space before it, a sign only a space.
            joins = letter or (space == b" " and not word[:1].isdigit())
            words += [space + word] if joins else [space, word]
            space = b""
        elif word.isspace() and word[-1:] not in b"\r\n" and match.end() < len(data):
            space = word[-1:]
            words += [word[:-1]] if len(word) > 1 else []
        else:
            words.append(word)
    return words


@lru_cache(maxsize=16_384)
def _tokens(word: bytes) -> int:
    if len(word) > _PIECE_BYTES:
        return sum(_tokens(word[at : at + _PIECE_BYTES]) for at in range(0, len(word), _PIECE_BYTES))
    ranks = _ranks()
    if not word or word in ranks:
        return bool(word)
    parts = [word[at : at + 1] for at in range(len(word))]
    while len(parts) > 1:
        best, where = len(ranks), -1
        for at in range(len(parts) - 1):
            rank = ranks.get(parts[at] + parts[at + 1], best)
            if rank < best:
                best, where = rank, at
        if where < 0:
            break
        parts[where : where + 2] = [parts[where] + parts[where + 1]]
    return len(parts)


@lru_cache(maxsize=1)
def _pattern() -> Any:
    import re2  # noqa: PLC0415 - 6 MB that only counting needs

    return re2.compile(_WORDS.encode())


@lru_cache(maxsize=1)
def _ranks() -> dict[bytes, int]:
    packed = (resources.files("airboss.providers") / "data" / "o200k.xz").read_bytes()
    data = lzma.decompress(packed)
    assert hashlib.sha256(data).hexdigest() == _SHA256, "data/o200k.xz is not the list it should be"
    ranks: dict[bytes, int] = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        ranks[data[at + 1 : end]] = len(ranks)
        at = end
    return ranks
