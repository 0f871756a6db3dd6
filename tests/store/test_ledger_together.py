"""What is written together is there as a whole or not at all, whatever is killed, and keeps nobody waiting
before it is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from airboss.domain.ports import ApiKey, Placement
from airboss.store.ledger import SqlLedger
from airboss.store.view_rows import SavedView
from airboss.store.views import SqlViewStore
from tests.support.kept_keys import put_key

AT = datetime(2026, 11, 30, tzinfo=UTC)
ROOT = Path(__file__).parent.parent.parent

WRITER = """
import sys
from tests.store.test_ledger_together import Both

both = Both(sys.argv[1])
with both.ledger.together():
    both.write(sys.argv[2])
    print("written", flush=True)
    sys.stdin.readline()
"""


class Both:
    """Two parts of one ledger."""

    def __init__(self, url: str) -> None:
        self.ledger, self.views = SqlLedger(url), SqlViewStore(url)

    def write(self, name: str) -> None:
        """A key by one, a view by the other."""
        put_key(self.ledger, ApiKey(name=name, sha256="0" * 64, created_at=AT))
        self.views.put_view(SavedView(name=name, path="/records", query={}, by="a test", at=AT))

    def there(self) -> tuple[list[str], list[str]]:
        """The names that each has."""
        return [each.name for each in self.ledger.all_keys()], [each.name for each in self.views.views()]

    def close(self) -> None:
        """Give everything back."""
        self.ledger.close()
        self.views.close()


T = TypeVar("T")


def elsewhere(work: Callable[[], T]) -> T:
    """Done by another thread, which is no part of what this one writes together."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(10)


@pytest.fixture
def both(address: str) -> Iterator[Both]:
    """Two parts of it."""
    made = Both(address)
    yield made
    made.close()


def test_both_are_there_at_the_end_and_not_before(both: Both) -> None:
    """Who writes sees it at once, everybody else at the end."""
    with both.ledger.together():
        both.write("a")
        with both.views.together():  # part of the whole
            both.write("b")
        assert both.there() == (["a", "b"], ["a", "b"])
        assert elsewhere(both.there) == ([], [])
    assert elsewhere(both.there) == both.there() == (["a", "b"], ["a", "b"])


def test_neither_is_there_where_it_fails(both: Both) -> None:
    """And what was read meanwhile is not remembered."""
    placement = Placement(id="a", model="m", url="http://127.0.0.1:1", engine="e", settings="{}", since=AT)

    def fails() -> None:
        with both.ledger.together():
            both.write("a")
            both.ledger.place([placement])
            assert [each.id for each in both.ledger.placements()] == ["a"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert both.there() == ([], [])
    assert both.ledger.placements() == ()
    both.write("b")
    assert both.there() == (["b"], ["b"])


def test_neither_is_there_after_a_kill(both: Both, address: str) -> None:
    """A process that dies between the two writes and the end leaves nothing, and holds nobody up."""
    dying = subprocess.Popen(
        [sys.executable, "-c", WRITER, address, "a"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert dying.stdout is not None
    assert dying.stdin is not None
    assert dying.stdout.readline() == "written\n"
    dying.kill()
    dying.wait()
    dying.stdout.close()
    dying.stdin.close()
    both.write("b")
    assert both.there() == (["b"], ["b"])


def test_what_only_reads_yet_keeps_nobody_waiting(both: Both) -> None:
    """The lock is taken by the first write: another's write goes on before it, and waits after it."""
    with ThreadPoolExecutor(1) as pool:
        with both.ledger.together():
            assert both.there() == ([], [])
            elsewhere(lambda: both.write("b"))
            assert both.there() == (["b"], ["b"])
            both.write("a")
            waits = pool.submit(both.write, "c")
            with pytest.raises(TimeoutError):
                waits.result(0.3)
        waits.result(10)
    assert both.there() == (["a", "b", "c"], ["a", "b", "c"])


def test_a_thread_s_writes_are_its_own(both: Both) -> None:
    """Another thread's write, by the same object, is no part of it and stands for itself."""

    def fails() -> None:
        with both.ledger.together():
            elsewhere(lambda: both.write("b"))
            both.write("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert both.there() == (["b"], ["b"])
