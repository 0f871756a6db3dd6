"""What the status says of dead letters that are sealed, and who has the keys."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.compose.sealing import BODIES_KEY, Opening, open_ring, sealing, with_letters
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import RecordFilter
from airboss.domain.status import DeadLetter
from airboss.store.datadir import DataDir
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.ledger import SqlLedger
from airboss.store.memory import MemoryRecordLog
from airboss.store.sealed_log import SealedLog
from tests.store.keys import ring
from tests.store.ledgers import plan
from tests.store.samples import START, opened_json
from tests.store.spans import span_move
from tests.store.test_contract_messages import LATE, answers, asks, says, silent
from tests.support.files import holding
from tests.support.seed_records import seed_status


def test_dead_letters_are_shown_opened(tmp_path: Path) -> None:
    """How one begins, to whoever may open it; of one that does not open nothing is shown."""
    with ring(tmp_path) as keys:
        log = SealedLog(MemoryRecordLog(), keys, wanted=lambda: True)
        sealed = log.letter("w/1", opened_json(1, user="ann")).decode()
        letters = tuple(
            DeadLetter(segment=segment, offset=0, why="why", bytes=len(text), excerpt=text)
            for segment, text in (("w/1", sealed), ("w/2", sealed), ("w/3", "in the clear"))
        )
        status = seed_status(datetime.now(UTC))
        journal = msgspec.structs.replace(status.journal, dead_letters=letters)
        told = with_letters(lambda: msgspec.structs.replace(status, journal=journal), log)()
    first, *others = (each.excerpt for each in told.journal.dead_letters)
    assert first == opened_json(1, user="ann").decode()[:200]
    assert others == ["[sealed]", "in the clear"]


def test_a_switch_holds_at_once(tmp_path: Path) -> None:
    """Whoever was told that bodies are sealed now has the next call sealed, however soon it comes."""
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    wanted = sealing(ledger)
    for bodies in ("searchable", "sealed", "searchable", "sealed"):
        ledger.publish(f'[store]\nbodies = "{bodies}"\n', plan())
        assert wanted() is (bodies == "sealed")
    ledger.close()


def test_only_who_leads_makes_a_master_key(tmp_path: Path) -> None:
    """A gateway on another machine that has none says which file to copy; it makes none."""
    data = DataDir(tmp_path)
    data.create()
    with open_ring(data) as keys, pytest.raises(StoreUnavailable, match="erase_key"):
        keys.keys([("ann", START, "bodies")])
    data.secret("erase_key")
    with open_ring(data) as keys, pytest.raises(StoreUnavailable, match="secrets/bodies_key"):
        keys.keys([("ann", START, "bodies")])
    assert data.kept_secret(BODIES_KEY) is None
    with open_ring(data, leads=True) as keys:
        assert keys.keys([("ann", START, "bodies")])
    with open_ring(data) as keys:
        assert keys.keys([("ann", START, "bodies")])


def test_the_store_opens_what_it_puts_together(tmp_path: Path) -> None:
    """A call whose messages came apart: sealed each by itself, and as a record again. The store's process
    gets keys for that alone."""
    data = DataDir(tmp_path)
    data.create()
    data.secret("erase_key")
    with open_ring(data, leads=True) as keys, closing(Opening(data)) as texts:
        inner = DuckDBRecordLog(data.records_path)
        inner.texts = texts
        log = SealedLog(inner, keys, wanted=lambda: True)
        log.apply(span_move(silent(1), says(2, 1, asks("where is order 4711?"), answers("on its way"))))
        while log.settle_calls(LATE, limit=100):
            pass
        (found,) = log.records(RecordFilter(), limit=1, bodies=True)
        assert found.request["messages"][0]["content"] == "where is order 4711?"
        assert found.output_chars == len("on its way")
        (kept,) = inner.records(RecordFilter(), limit=1, bodies=True)
        assert "airboss_sealed" in kept.request
        log.close()
    assert holding(tmp_path, b"order 4711") == []
