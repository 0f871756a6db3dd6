"""Where bodies are sealed: what is of a forgotten person is unreadable first, and journals keep no words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec
import pytest

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.record import Redacted
from tests.controller.houses import ALL, KEY, USER, WORDS, House, letters
from tests.store.keys import ring
from tests.store.samples import call_id
from tests.store.spans import llm
from tests.support.files import holding


@pytest.fixture
def sealed_house(tmp_path: Path) -> Iterator[House]:
    """One where bodies are sealed."""
    with ring(tmp_path, secret_of_people=KEY) as keys:
        made = House(tmp_path, keys)
        yield made
        made.close()


def test_sealed_words_leave_the_journal_when_they_are_stored(sealed_house: House) -> None:
    """Also of a worker that lives on, and where the mover was killed before it could blank them; what has not
    been stored waits there."""
    house = sealed_house
    house.opens(1)
    house.closes(1)
    house.judges(1, "bob", WORDS.decode())
    told = llm(2, user=USER, started_at=house.clock.at, attributes=msgspec.Raw(b'{"said":"%s"}' % WORDS))
    house.worker.span(cast("Redacted", msgspec.json.encode(told)))
    assert holding(house.root, WORDS)
    house.mover.tick()
    house.mover.finish()
    assert holding(house.root, WORDS) == []
    assert WORDS.decode() in str(house.log.records(ALL, limit=9, bodies=True))
    assert WORDS in bytes(house.log.spans_of([call_id(2)])[0].attributes)

    house.opens(4)
    house.closes(4)
    house.mover.tick()
    assert holding(house.root, WORDS) == []

    def killed(*_given: object) -> None:
        raise KeyboardInterrupt

    house.opens(3)
    house.closes(3)
    house.erasing.taken = killed  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        house.mover.tick()
    assert [name for name in holding(house.root, WORDS) if name.startswith("journal/")]
    house.mover = house.new_mover()
    house.mover.tick()
    assert holding(house.root, WORDS) == []
    assert house.log.count(ALL) == 4


def test_words_that_could_not_be_written_over_are_written_over_later(
    sealed_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the ledger was away just when the store had taken them."""
    house = sealed_house
    house.mover.tick()
    house.opens(1)
    house.closes(1)

    def away() -> bool:
        raise SetupError("the ledger is away")

    with monkeypatch.context() as patch:
        patch.setattr(house.log, "wanted", away)
        assert not house.mover.tick().store_up
    assert [name for name in holding(house.root, WORDS) if name.startswith("journal/")]
    assert house.mover.tick().store_up
    assert holding(house.root, WORDS) == []
    assert house.log.count(ALL) == 1


def test_what_is_sealed_is_unreadable_though_the_store_is_down(
    sealed_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's key is destroyed before anything else; the rest is done when the store is back. Calls that
    came after are kept, with another key."""
    house = sealed_house
    house.opens(1)
    house.closes(1)
    house.mover.tick()
    (kept,) = house.log.inner.records(ALL, limit=1, bodies=True)

    def down(*_given: object) -> int:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(house.log, "offset", down)
        erasure = house.forgets()
        assert not house.mover.tick().store_up
        assert house.state(erasure) == "pending"
    assert "was destroyed" in str(house.log.records(ALL, limit=1, bodies=True)[0].request)
    with closing(sqlite3.connect(house.root / "ledger.db")) as ledger:
        assert ledger.execute("select count(*) from body_keys").fetchone() == (0,)
    house.clock.at += timedelta(seconds=10)
    house.opens(2)
    house.closes(2)
    house.mover = house.new_mover()
    house.mover.tick()
    assert house.state(erasure) == "done"
    new, old = house.log.records(ALL, limit=9, bodies=True)
    assert (old.user, old.request) == (None, None)
    assert (new.user, new.response) == (USER, {"content": WORDS.decode()})
    key = str(kept.request["airboss_sealed"]).split(".")[1]
    assert holding(house.root, key.encode()) == []  # of the ledger's file and its log nothing is left either


def test_sealed_dead_letters_hold_no_words(sealed_house: House) -> None:
    """And lose what may be of a person as others do."""
    house = sealed_house
    house.opens(1, plan=2**70)
    house.opens(2, "bob", plan=2**70)
    house.worker.close_call(cast("Redacted", b'{"half":"%s"' % WORDS))
    status = house.mover.tick()
    assert [bool(each["payload"]) for each in letters(house)] == [True, True, True]
    assert [each.excerpt.partition(":")[0] for each in status.dead_letters] == ["airboss_sealed"] * 3
    assert [name for name in holding(house.root, WORDS) if "journal" in name] == []
    (bob,) = [each for each in letters(house) if call_id(2) in each["why"]]
    assert b'"user":"bob"' in house.log.read_letter(bob["segment"], bob["payload"].encode())
    house.forgets()
    house.mover.tick()
    assert [each["why"] for each in letters(house) if each["payload"]] == [bob["why"]]
