"""Tokens are counted as OpenAI's own tokenizer counts them."""

from __future__ import annotations

import lzma
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airboss.providers import o200k

# Counted by tiktoken 0.14 with its `o200k_base`.
COUNTED = [
    ("", 0),
    ("Hello world", 2),
    ("  two  spaces  ", 5),
    ("a\n\n  b\tc", 5),
    ("Größe Ünïcödé 日本語テキスト 😀😀 Привет мир", 16),
    ("x=1234567; y = 'don't we'll'", 12),
    ('{"a": [1, 2.50, null]}', 13),
    ("    indented code\n        def f(x):\n            return x  # comment", 16),
    ("a   1", 4),
    ("I'LL don't", 4),
]


def test_of_several_threads_one_reads_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait; each with the list in memory would take 20 MB."""
    read = []
    real = lzma.decompress

    def counted(packed: bytes) -> bytes:
        read.append(1)
        return real(packed)

    monkeypatch.setattr("airboss.providers.o200k.lzma.decompress", counted)
    o200k._ranks.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: o200k.load(), range(4)))
    assert len(read) == 1


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_counts(text: str, tokens: int) -> None:
    """Words, spaces, numbers, signs, code and other scripts."""
    assert o200k.count(text) == tokens


def test_a_long_text_is_counted_in_parts() -> None:
    """Megabytes take milliseconds and come out nearly right, and so does one word of a megabyte."""
    sentence = "The quick brown fox jumps over the lazy dog, 12 times a day. "
    once = o200k.count(sentence * 10) / 10
    began = time.process_time()
    assert o200k.count(sentence * 100_000) == pytest.approx(100_000 * once, rel=0.05)
    assert o200k.count("x" * 1_000_000) > 10_000
    assert time.process_time() - began < 0.5


def test_what_cannot_be_read_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for four characters, as long as the list is out of reach; then it is read."""
    o200k._ranks.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(lzma, "decompress", _no_more_files)
        assert not o200k.load()
        assert [o200k.count(text) for text in ("", "a", "Hello world, hello")] == [0, 1, 5]
    assert o200k.count("Hello world, hello") == 4


def _no_more_files(packed: bytes) -> bytes:
    raise OSError(24, "Too many open files", len(packed))
