"""The store of responses: chains, keys, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.store.response_rows import KeptResponse, TooLong
from airboss.store.responses import SqlResponseStore

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(address: str) -> Iterator[SqlResponseStore]:
    """A store in a new ledger."""
    made = SqlResponseStore(address)
    yield made
    made.close()


def kept(
    name: str,
    previous: str | None = None,
    *,
    key: str = "app",
    user: str | None = None,
    began: datetime = NOW,
    days: int = 30,
) -> KeptResponse:
    """A response."""
    return KeptResponse(
        id=name,
        key=key,
        user=user,
        previous=previous,
        created_at=began,
        expires_at=began + timedelta(days=days),
        response='{"id":"x"}',
        messages=f'["{name}"]',
    )


def names(store: SqlResponseStore, last: str, now: datetime = NOW, key: str = "app") -> list[str] | None:
    """The ids of a chain."""
    chain = store.chain(last, key=key, now=now, most=100_000)
    return None if chain is None else [each.id for each in chain]


def test_what_is_put_is_got(store: SqlResponseStore) -> None:
    """A response comes back as it was."""
    store.put(kept("a", user="u"))
    assert store.get("a", key="app", now=NOW) == kept("a", user="u")


def test_several_are_put_away_at_once(store: SqlResponseStore) -> None:
    """In one transaction, each as if alone, also one that builds on another of them; all of them or none."""
    store.put(kept("a"), kept("b", "a", began=NOW + DAY), kept("c", user="u"), kept("c"))
    assert names(store, "b") == ["a", "b"]
    assert store.get("c", key="app", now=NOW) == kept("c")
    assert store.get("a", key="app", now=NOW + 30.5 * DAY) is not None
    with pytest.raises(WrongCall, match="'a' cannot be kept: another key has one"):
        store.put(kept("d", key="other"), kept("a", key="other"))
    assert store.get("d", key="other", now=NOW) is None
    assert store.get("a", key="app", now=NOW) is not None


def test_chains(store: SqlResponseStore) -> None:
    """A chain begins with its first response, whichever branch is followed."""
    store.put(kept("a"))
    store.put(kept("b", "a"))
    store.put(kept("c", "b"))
    store.put(kept("d", "a"))
    assert names(store, "c") == ["a", "b", "c"]
    assert names(store, "d") == ["a", "d"]
    assert names(store, "a") == ["a"]
    assert names(store, "x") is None


def test_a_lost_link_breaks_the_chain(store: SqlResponseStore) -> None:
    """Without what it builds on a response is no conversation any more; alone it is still there."""
    store.put(kept("a"))
    store.put(kept("b", "a"))
    assert store.delete("a", key="app", now=NOW)
    assert not store.delete("a", key="app", now=NOW)
    assert names(store, "b") is None
    assert store.get("b", key="app", now=NOW) is not None


def test_another_key_finds_nothing(store: SqlResponseStore) -> None:
    """To other keys a response does not exist."""
    store.put(kept("a"))
    assert store.get("a", key="other", now=NOW) is None
    assert names(store, "a", key="other") is None
    assert not store.delete("a", key="other", now=NOW)
    store.put(kept("b", "a", key="other"))
    assert names(store, "b", key="other") is None


def test_time_runs_out(store: SqlResponseStore) -> None:
    """After its time a response is not found, even before it is deleted."""
    store.put(kept("a"))
    later = NOW + 30 * DAY
    assert store.get("a", key="app", now=later - DAY) is not None
    assert store.get("a", key="app", now=later) is None
    assert names(store, "a", later) is None
    assert store.expire(later - DAY, limit=10) == 0
    assert store.expire(later, limit=10) == 1
    assert store.expire(later, limit=10) == 0


def test_who_goes_on_keeps_all_of_it(store: SqlResponseStore) -> None:
    """A conversation that goes on is kept for as long as its newest response."""
    store.put(kept("a"))
    store.put(kept("b", "a", began=NOW + 20 * DAY))
    store.put(kept("c", "b", began=NOW + 40 * DAY))
    assert names(store, "c", NOW + 69 * DAY) == ["a", "b", "c"]
    assert names(store, "c", NOW + 70 * DAY) is None
    # One that is kept for less does not shorten the others' time.
    store.put(kept("d", "c", began=NOW + 41 * DAY, days=1))
    assert names(store, "c", NOW + 69 * DAY) == ["a", "b", "c"]


def test_expiry_is_bounded(store: SqlResponseStore) -> None:
    """At most so many are deleted at once."""
    for number in range(5):
        store.put(kept(str(number)))
    assert [store.expire(NOW + 31 * DAY, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_people(store: SqlResponseStore) -> None:
    """A person's responses can be named and forgotten, all of them or those up to a time."""
    store.put(kept("a", user="ann"))
    store.put(kept("b", user="ann", began=NOW + DAY))
    store.put(kept("c", user="bob", began=NOW + DAY))
    store.put(kept("d"))
    assert store.people(NOW + DAY) == {"ann": NOW}
    assert store.people(NOW + 2 * DAY) == {"ann": NOW, "bob": NOW + DAY}
    assert store.forget_user("ann", until=NOW) == 1
    assert store.get("b", key="app", now=NOW) is not None
    assert store.forget_user("ann") == 1
    assert store.people(NOW + 2 * DAY) == {"bob": NOW + DAY}


def test_a_chain_is_bounded(store: SqlResponseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of too many links is refused as if it were broken."""
    monkeypatch.setattr("airboss.store.responses.LINKS_MAX", 20)
    store.put(kept("0"))
    for number in range(1, 22):
        store.put(kept(str(number), str(number - 1), days=1))
    assert names(store, "20") is not None
    assert names(store, "21") is None


def test_a_chain_is_bounded_in_bytes(store: SqlResponseStore) -> None:
    """Of texts beyond ASCII too; what lies behind the one that is over the bound is not counted."""
    for name, previous in (("a", None), ("b", "a"), ("c", "b")):
        store.put(msgspec.structs.replace(kept(name, previous), messages='["ééé"]'))
    chain = store.chain("c", key="app", now=NOW, most=30)
    assert chain is not None
    assert len(chain) == 3
    for most, size, links in ((29, 30, 3), (20, 30, 3), (19, 20, 2), (9, 10, 1)):
        with pytest.raises(TooLong) as told:
            store.chain("c", key="app", now=NOW, most=most)
        assert (told.value.size, told.value.links) == (size, links)


def test_a_response_is_bounded_in_bytes(store: SqlResponseStore) -> None:
    """Of both its texts, where whoever asks has a bound."""
    store.put(msgspec.structs.replace(kept("a"), response='"é"', messages='["é"]'))
    assert store.get("a", key="app", now=NOW, most=10) is not None
    with pytest.raises(TooLong) as told:
        store.get("a", key="app", now=NOW, most=9)
    assert told.value.size == 10
    assert store.get("x", key="app", now=NOW, most=9) is None
