"""What tuning keeps in SQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from airboss.store.tunes import SqlTuneStore

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_calls_are_counted_by_job_and_key(address: str) -> None:
    """By several threads at once, and read again by another process's store."""
    store = SqlTuneStore(address)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.begin_tune_call("a", f"key-{number % 5}"), range(40)))
    store.begin_tune_call("b", "key-0")
    store.close()
    again = SqlTuneStore(address)
    assert again.tune_calls("a") == {f"key-{number}": 8 for number in range(5)}
    assert again.tune_calls("b") == {"key-0": 1}
    assert again.tune_calls("c") == {}
    again.close()


def test_a_choice_is_made_once(address: str) -> None:
    """The first stays, whatever is put after it."""
    store = SqlTuneStore(address)
    assert store.tune_choice("a") is None
    store.put_tune_choice("a", "first", NOW)
    store.put_tune_choice("a", "second", NOW)
    assert store.tune_choice("a") == "first"
    assert store.tune_choice("b") is None
    store.close()
