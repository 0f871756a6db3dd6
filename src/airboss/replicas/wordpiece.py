"""BERT's tokenizer for text in lower case: words, cut into the longest pieces that a vocabulary has. Pure.

As Hugging Face's `BertNormalizer`, `BertPreTokenizer` and `WordPiece`, set as for `bert-base-uncased` (258
texts, most of them of this project's documents, came out alike); its vocabulary is in a `tokenizer.json`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from airboss.domain.errors import SetupError

WORD_CHARS_MAX: Final = 100
"""A longer word is one unknown token."""
CLS, SEP, UNK = "[CLS]", "[SEP]", "[UNK]"


class _Model(msgspec.Struct):
    type: str
    vocab: dict[str, int]
    continuing_subword_prefix: str = "##"


class _Normalizer(msgspec.Struct):
    type: str
    lowercase: bool = True


class _File(msgspec.Struct):
    model: _Model
    normalizer: _Normalizer


class WordPiece:
    """The tokenizer of one vocabulary."""

    def __init__(self, vocab: Mapping[str, int]) -> None:
        self._vocab = vocab
        self._cls, self._sep, self._unk = vocab[CLS], vocab[SEP], vocab[UNK]

    @classmethod
    def read(cls, data: bytes) -> WordPiece:
        """From a `tokenizer.json`. Raises SetupError if it is of another kind."""
        try:
            file = msgspec.json.decode(data, type=_File)
        except msgspec.DecodeError as error:
            raise SetupError(f"the tokenizer cannot be read: {error}") from None
        kind = (file.model.type, file.normalizer.type, file.normalizer.lowercase)
        if kind != ("WordPiece", "BertNormalizer", True) or not {CLS, SEP, UNK} <= file.model.vocab.keys():
            raise SetupError(f"the tokenizer is {kind[0]}, and BERT's WordPiece in lower case is wanted")
        return cls(file.model.vocab)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, between the two that mark its beginning and its end."""
        found = [self._cls]
        for word in words(text):
            found += self._pieces(word)
        found.append(self._sep)
        return found

    def _pieces(self, word: str) -> list[int]:
        if len(word) > WORD_CHARS_MAX:
            return [self._unk]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            end = len(word)
            while end > start:
                piece = ("##" if start else "") + word[start:end]
                number = self._vocab.get(piece)
                if number is not None:
                    pieces.append(number)
                    break
                end -= 1
            else:
                return [self._unk]
            start = end
        return pieces


def words(text: str) -> Iterator[str]:
    """A text's words in lower case, without accents; every sign and every Chinese character is one."""
    spaced = "".join(_cleaned(text))
    plain = "".join(
        each for each in unicodedata.normalize("NFD", spaced) if unicodedata.category(each) != "Mn"
    ).lower()
    for word in plain.split():
        begun = 0
        for at, each in enumerate(word):
            if _is_sign(each):
                if at > begun:
                    yield word[begun:at]
                yield each
                begun = at + 1
        if begun < len(word):
            yield word[begun:]


def _cleaned(text: str) -> Iterator[str]:
    for each in text:
        if each in "\t\n\r":
            yield " "
        elif each in "\x00�" or unicodedata.category(each) in {"Cc", "Cf", "Cn", "Co", "Cs"}:
            continue
        elif unicodedata.category(each) == "Zs":
            yield " "
        elif _is_chinese(ord(each)):
            yield f" {each} "
        else:
            yield each


def _is_sign(each: str) -> bool:
    code = ord(each)
    if code < 128:
        return not each.isalnum() and code > 32
    return unicodedata.category(each).startswith("P")


def _is_chinese(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )
