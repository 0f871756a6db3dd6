"""Words looked for in the bodies that the record log's DuckDB file keeps.

DuckDB has no index of text that is built in, and reading 300,000 bodies takes it two seconds. So words are
kept by blocks of 1,024 records: a rare one leaves few blocks to read. What no block is made of yet is read:
the newest records, at most a few thousand where there is time to make blocks. Each function works within the
transaction of its caller.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from airboss.domain.ports import RecordFilter
from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import ENGINE, Connection, query, run
from airboss.store.rows import whole
from airboss.store.sealed_marks import BODY
from airboss.store.searching import ESCAPES, TOKEN, Search, holds, lowered

BLOCK: Final = 1024
"""As in the schema."""
AT_ONCE: Final = 4
"""So many blocks are sorted in together, where bodies are short; making them takes a third of a second of one
core."""
STRETCH: Final = 4
"""So many blocks are read together."""
PARTS_AT_ONCE: Final = 1_024
"""So many parts of bodies are read together, of 16 KB each at most; a step ends after as many full ones."""
PARTS_EACH: Final = read.GROUP_PARTS_MAX // 64
"""As which a record counts at least, so that no more than 64 are matched where few are wanted."""
CHARS_AT_ONCE: Final = 4 << 20
"""So many characters of texts are taken apart at once."""
PIECE_CHARS: Final = 16_384
"""Texts longer than that are divided before they are taken apart."""
KEPT_CHARS_MAX: Final = 32 << 20
"""Of bodies kept until their words are made: ten thousand calls of 3 KB."""
BUDGET_S: Final = 1.0
_SEALED: Final = BODY.decode()
_PLAIN: Final = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() else ord(" ") for code in range(128)
) + bytes(128)
"""ASCII in lower case, with spaces between the words."""


class Kept:
    """The bodies stored last, by blocks, so that their words are made without reading them again: that is a
    third of what words cost. A block is kept whole, from its first record on, or not at all."""

    def __init__(self, next_seq: int) -> None:
        self.forget(next_seq)

    def forget(self, next_seq: int) -> None:
        """Keep nothing of what was stored before this `seq`."""
        self._blocks: dict[int, list[tuple[Any, ...]]] = {}
        self._chars = 0
        self._first = -(-next_seq // BLOCK)

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Keep these rows of `bodies`, those of a record one after another."""
        for block, group in groupby(rows, key=lambda row: row[0] // BLOCK):
            if block >= self._first:
                some = list(group)
                self._blocks.setdefault(block, []).extend(some)
                self._chars += _chars(some)
                if self._chars > KEPT_CHARS_MAX:
                    self._first = block + 1
                    self._chars -= _chars(self._blocks.pop(block))

    def take(self, block: int) -> Iterator[str] | None:
        """The texts of a block, which is whole and no longer kept then; None: they are not here."""
        rows = self._blocks.pop(block, None)
        if rows is None:
            return None
        self._chars -= _chars(rows)
        return _said(rows)


def _chars(rows: Iterable[tuple[Any, ...]]) -> int:
    return sum([len(request or "") + len(response or "") for _, _, request, response in rows])


def _said(rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """The texts of these rows of `bodies`, a record's one after another, but for what is sealed."""
    for _, group in groupby(rows, key=itemgetter(0)):
        parts = list(group)
        both = parts[0][2:] if len(parts) == 1 else map(whole, list(zip(*parts, strict=True))[2:])
        texts = [text for text in both if text is not None]
        if not any(text.startswith(_SEALED) for text in texts):
            yield " ".join(texts)


def indexed(connection: Connection) -> set[int]:
    """The blocks whose words are in."""
    return {block for (block,) in run(connection, "select block from word_blocks where engine = ?", [ENGINE])}


def missing(connection: Connection, done: Collection[int], *, first: int, next_seq: int) -> list[int]:
    """The blocks to be made next, of records from `first` to before `next_seq`: whole ones, a few, and
    fewer where one was taken out among others, or their bodies are long: to look through one of these takes
    minutes without."""
    found = [block for block in range(first // BLOCK, next_seq // BLOCK) if block not in done][:AT_ONCE]
    if not found or len(found) == AT_ONCE or found[0] < max(done, default=0):
        return found
    text = "select count(*) from bodies where seq between $first and $last"
    ends = {"first": found[0] * BLOCK, "last": (found[-1] + 1) * BLOCK - 1}
    ((parts,),) = run(connection, text, ends)
    return found if parts > AT_ONCE * BLOCK else []


class Making:
    """Words of blocks that are put in a step at a time: a block may have gigabytes of bodies, and one step
    takes little more memory and time than a move of records does. Each step is a transaction; what has begun
    and is not gone on with is cleared by who begins anew."""

    def __init__(self, connection: Connection, blocks: Sequence[int]) -> None:
        clear(connection, blocks)
        self._left = [(block, piece) for block in blocks for piece in _pieces(connection, block)]
        self._left.reverse()
        self._begun: int | None = None  # the block that some words are in of
        self.done: list[int] = []

    def step(self, connection: Connection, kept: Kept) -> bool:
        """Put the next words in; whether there are more. `done` are the blocks that are whole then."""
        run(connection, "create or replace temp table fresh (hash uinteger, block integer)")
        again, full = self._begun, 0
        while self._left and full < PARTS_AT_ONCE:
            block, piece = self._left.pop()
            texts = kept.take(block) if block != self._begun else None
            if texts is not None:
                while self._left and self._left[-1][0] == block:
                    self._left.pop()
            else:
                texts = _said(
                    sorted(run(connection, query("index_parts"), piece.asked), key=itemgetter(0, 1))
                )
            _note(connection, block, texts)
            full += piece.full
            whole_ = not self._left or self._left[-1][0] != block
            self._begun = None if whole_ else block
            if whole_:
                self.done.append(block)
                connection.execute("insert into word_blocks values (?, ?)", [block, ENGINE])
        there = "hash not in (select hash from words where block = $again) or block <> $again"
        rest, asked = ("", {}) if again is None else (f" where {there}", {"again": again})
        text = f"insert into words select distinct hash, block from fresh{rest} order by hash, block"  # noqa: S608 - our own words
        run(connection, text, asked)
        run(connection, "drop table fresh")
        return bool(self._left)


class Words:
    """Which blocks' words are in, and those that are being put in. The one writer calls it, within its
    transactions; what it knows is forgotten where one fails."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Look again what is in, and begin anew."""
        self._made: set[int] | None = None
        self._making: Making | None = None

    def step(self, connection: Connection, kept: Kept, *, first: int, next_seq: int) -> bool:
        """Put some in, of records from `first` to before `next_seq`; whether there were any."""
        if self._made is None:
            self._made = indexed(connection)
        if self._making is None:
            blocks = missing(connection, self._made, first=first, next_seq=next_seq)
            if not blocks:
                return False
            self._making = Making(connection, blocks)
        making = self._making
        if not making.step(connection, kept):
            self._making = None
        self._made.update(making.done)
        return True


class _Piece(msgspec.Struct, frozen=True):
    """Some bodies of a block, which are read together."""

    asked: dict[str, int]
    full: int
    """Parts behind which others come."""


def _pieces(connection: Connection, block: int) -> Iterator[_Piece]:
    """All bodies of a block. Of a longer one than is read at once pieces overlap by a part: a word may be cut
    between two."""
    ends = {"first": block * BLOCK, "last": (block + 1) * BLOCK - 1}
    counts = dict(run(connection, query("index_counts"), ends))
    if not counts:
        yield _Piece({**ends, "from": 0, "to": 0}, 0)
    for seqs in read.grouped(counts.items(), PARTS_AT_ONCE):
        parts = sum(counts[seq] for seq in seqs)
        for start in range(0, parts, PARTS_AT_ONCE) if len(seqs) == 1 else (0,):
            end = start + PARTS_AT_ONCE
            asked = {"first": seqs[0], "last": seqs[-1], "from": max(0, start - 1), "to": end}
            yield _Piece(asked, min(parts, end) - start - len(seqs))


def _note(connection: Connection, block: int, texts: Iterable[str]) -> None:
    """Note the tokens of these texts of a block."""
    some: list[str] = []
    chars = 0
    for text in texts:
        some += _short(_spaced(text))
        chars += len(text)
        if chars > CHARS_AT_ONCE:
            _hash(connection, block, some)
            some, chars = [], 0
    _hash(connection, block, some)


def _short(text: str) -> Iterator[str]:
    """It in pieces, cut where spaces are: DuckDB takes 20 s for the words of one text of 8 MB, and 1 s for
    those of many short ones."""
    start = 0
    while len(text) - start > PIECE_CHARS and (end := text.find(" ", start + PIECE_CHARS)) > 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _spaced(text: str) -> str:
    """The tokens of a text, as `searching.TOKEN` finds them, with spaces between; of ASCII at a tenth of the
    cost."""
    if text.isascii() and not ("\\" in text and "\\u" in text):  # one sign is found far sooner than two
        return _without_escapes(text).encode().translate(_PLAIN).decode()
    return " ".join(TOKEN.findall(_without_escapes(lowered(text))))


def _without_escapes(text: str) -> str:
    if "\\" in text:
        for escape in ESCAPES:
            text = text.replace(escape, " ")
    return text


def _hash(connection: Connection, block: int, texts: list[str]) -> None:
    run(connection, query("index_hashes"), {"block": block, "texts": texts})


def clear(connection: Connection, blocks: Collection[int]) -> None:
    """Take the words of these blocks out."""
    for table in ("words", "word_blocks"):
        asked = [list(blocks)]
        run(connection, f"delete from {table} where block in (select unnest(?::integer[]))", asked)  # noqa: S608 - two names


def blocks_of(seqs: Collection[int]) -> set[int]:
    """The blocks that these records are in."""
    return {seq // BLOCK for seq in seqs}


def search(
    connection: Connection, where: RecordFilter, search_for: Search, *, limit: int
) -> tuple[list[int], int | None]:
    """The numbers of records that match, the last first, and, where time ran out or there were enough, that
    of the oldest that was looked at."""
    conditions, asked = read.conditions(where)
    bounds = f"select min(seq), max(seq) from records where {conditions}"  # noqa: S608 - our own conditions
    ((oldest, newest),) = run(connection, bounds, asked)
    if where.before is not None:
        anchors = run(connection, "select seq from records where id = ?", [where.before])
        newest = min(newest, anchors[0][0] - 1) if anchors and newest is not None else None
    if newest is None or oldest > newest:
        return [], None
    deadline = time.monotonic() + BUDGET_S
    found: list[int] = []
    text = query("search").format(where=conditions, holds=_holds(search_for, asked))
    for first, last in _stretches(_candidates(connection, search_for, oldest // BLOCK, newest // BLOCK)):
        low, high = max(first * BLOCK, oldest), min(last * BLOCK, newest + 1)
        for counts in _ranges(connection, low, high):
            ends = {"first": min(counts), "last": max(counts) + 1}
            maybe = [seq for (seq,) in run(connection, text, {**asked, **ends})]
            for some in read.grouped((seq, max(PARTS_EACH, counts[seq])) for seq in maybe):
                bodies = read.bodies_of(connection, some)
                found += [seq for seq in some if holds(search_for, *bodies.get(seq, (None, None)))]
                if len(found) >= limit:
                    return found[:limit], found[limit - 1]
                if time.monotonic() > deadline and some[-1] > oldest:
                    return found, some[-1]
            if time.monotonic() > deadline and ends["first"] > oldest:
                return found, ends["first"]
    return found, None


def _ranges(connection: Connection, first: int, end: int) -> Iterator[dict[int, int]]:
    """The parts of the bodies of records in a stretch, the last first, as many as are looked through at
    once."""
    counts = dict(run(connection, query("index_counts"), {"first": first, "last": end - 1}))
    for seqs in read.grouped(reversed(counts.items()), 4 * PARTS_AT_ONCE):
        yield {seq: counts[seq] for seq in seqs}


def _candidates(connection: Connection, search_for: Search, first: int, last: int) -> set[int]:
    """The blocks that may hold what is looked for: each term in one of its spellings, or not made yet."""
    every = set(range(first, last + 1))
    unmade = every - indexed(connection)
    for spellings in search_for.spellings:
        having: set[int] = set()
        for tokens in spellings:
            if not tokens:
                having = every
                break
            asked = {"first": first, "last": last, "tokens": list(tokens), "count": len(tokens)}
            having |= {block for (block,) in run(connection, query("word_blocks"), asked)}
        every &= having | unmade
    return every


def _holds(search_for: Search, asked: dict[str, Any]) -> str:
    """The condition on `said` that a body with every term meets; its parameters go into `asked`."""
    terms = []
    for number, spellings in enumerate(search_for.spellings):
        forms = []
        for other, tokens in enumerate(spellings):
            names = [f"token_{number}_{other}_{nth}" for nth in range(len(tokens))]
            asked.update(zip(names, tokens, strict=True))
            forms.append(" and ".join(f"contains(said, ${name})" for name in names) or "true")
        terms.append(f"({' or '.join(forms)})")
    return " and ".join(terms)


def _runs(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours, each from its first to before its end."""
    for _, group in groupby(enumerate(sorted(blocks)), key=lambda each: each[1] - each[0]):
        members = [block for _, block in group]
        yield members[0], members[-1] + 1


def _stretches(blocks: Collection[int]) -> Iterator[tuple[int, int]]:
    """What is read together, the last first: neighbours, a few at once."""
    for first, last in reversed(list(_runs(sorted(blocks)))):
        end = last
        while end > first:
            yield max(first, end - STRETCH), end
            end -= STRETCH
