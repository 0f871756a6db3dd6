"""The book of all counters, and its owner: all or nothing, freed with a worker, and kept through a kill."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.errors import SetupError
from airboss.governance import owner as owner_module
from airboss.governance.counting import (
    FORGET_USER_S,
    SWEEP_MAX,
    Book,
    Change,
    Denied,
    Grant,
    Want,
    units,
    usd_of,
)
from airboss.governance.owner import GRACE_S, REWRITE_S, Owner
from airboss.store.state_log import StateLog
from tests.support.small_disk import fill, small_disk

NOW = 1_790_000_000.0


def minute(need: int = 1, limit: int = 10, *, lease: bool = False, counter: str = "key/a/requests") -> Want:
    """So many of a limit a minute."""
    return Want(counter, "minute", limit, need, lease)


def running(limit: int = 2, *, lease: bool = False) -> Want:
    """A place among the calls under way."""
    return Want("key/a/concurrency", "running", limit, 1, lease)


def money(need: int, limit: int, *, lease: bool = False) -> Want:
    """So much of a budget."""
    return Want("key/a/usd/2026-11", "money", limit, need, lease)


def given_to(book: Book | Owner, *wants: Want, worker: str = "w", now: float = NOW) -> tuple[Grant, ...]:
    """What is granted; it must be."""
    answer = (
        book.ask(worker, wants, now=now)
        if isinstance(book, Owner)
        else book.ask(worker, wants, now=now, workers=1)
    )
    assert not isinstance(answer, Denied), answer
    return answer


def denied(book: Book | Owner, *wants: Want, worker: str = "w", now: float = NOW) -> Denied:
    """Why nothing is granted; it must not be."""
    answer = (
        book.ask(worker, wants, now=now)
        if isinstance(book, Owner)
        else book.ask(worker, wants, now=now, workers=1)
    )
    assert isinstance(answer, Denied), answer
    return answer


def test_a_refused_want_takes_nothing_of_the_others() -> None:
    """All or nothing: with no place free, no request is counted."""
    book = Book()
    given_to(book, minute(), running(limit=1))
    assert denied(book, minute(), running(limit=1)).index == 1
    (grant,) = given_to(book, minute())
    assert grant.left == 8


def test_leases_are_a_hundredth_of_the_limit_among_all_workers() -> None:
    """What a worker may have in stock falls with their number; where it is less than one it is none."""
    for workers, lease in ((1, 100), (4, 25), (1000, 0)):
        (grant,) = Book().ask("w", [minute(limit=10_000, lease=True)], now=NOW, workers=workers)  # type: ignore[misc]  # granted
        assert (grant.amount, grant.lease) == (max(1, lease), lease)


def test_the_last_of_a_limit_is_leased_no_further_than_it_goes() -> None:
    """A lease takes what is there, and no more."""
    book = Book()
    given_to(book, minute(need=9_995, limit=10_000))
    (grant,) = given_to(book, minute(limit=10_000, lease=True))
    assert (grant.amount, grant.left) == (5, 0)
    assert denied(book, minute(limit=10_000)).retry_after_s == pytest.approx(60.25, abs=0.26)


def test_more_than_the_whole_limit_never_comes() -> None:
    """There is no time at which it would be given."""
    assert denied(Book(), minute(need=11)).retry_after_s is None


def test_a_dead_worker_frees_what_it_held() -> None:
    """Its places and its reserved money; what it took of a minute stays taken."""
    book = Book()
    given_to(book, minute(), running(limit=1), money(70, 100), worker="a")
    denied(book, running(limit=1), worker="b")
    book.forget("a")
    grants = given_to(book, minute(), running(limit=1), money(100, 100), worker="b")
    assert [grant.left for grant in grants] == [8, 0, 0]


def test_money_goes_until_it_is_spent() -> None:
    """While anything is left a call goes, whatever it costs; reserved money comes back, spent money not."""
    book = Book()
    given_to(book, money(60, 100))
    given_to(book, money(60, 100))
    assert denied(book, money(1, 100)) == Denied(0, 1.0, 0, 0)
    book.change("w", [Change("key/a/usd/2026-11", freed=60, spent=10)], now=NOW)
    given_to(book, money(10, 100))
    book.change("w", [Change("key/a/usd/2026-11", freed=70, spent=95)], now=NOW)
    assert denied(book, money(1, 100)) == Denied(0, None, 0, 105)


def test_records_raise_what_was_spent_and_never_lower_it() -> None:
    """What the records say counts where it is more than was told."""
    book = Book()
    name = "key/a/usd/2026-11"
    book.change("w", [Change(name, spent=30)], now=NOW)
    book.change("w", [Change(name, at_least=20)], now=NOW)
    assert given_to(book, money(1, 100))[0].left == 69
    book.change("w", [Change(name, at_least=90)], now=NOW)
    assert given_to(book, money(1, 100))[0].left == 8


def test_what_may_still_be_told_counts_where_nothing_is_known() -> None:
    """Records that may be ahead of workers say what was spent before anybody told, and nothing after that."""
    book = Book()
    name = "key/a/usd/2026-11"
    book.change("w", [Change(name, at_first=30)], now=NOW)
    assert given_to(book, money(1, 100))[0].left == 69
    book.change("w", [Change(name, at_first=90)], now=NOW)
    book.change("w", [Change(name, spent=5)], now=NOW)
    assert given_to(book, money(1, 100))[0].left == 63


@settings(deadline=None)  # counted by what it does, on machines that are busy too
@given(
    st.lists(
        st.tuples(st.integers(min_value=1, max_value=50), st.integers(min_value=0, max_value=120)),
        max_size=60,
    ),
    st.integers(min_value=1, max_value=200),
    st.integers(min_value=1, max_value=8),
)
def test_overspending_is_at_most_what_is_under_way(
    calls: list[tuple[int, int]], budget: int, at_once: int
) -> None:
    """Calls that cost more than was reserved for them: spend is under the budget and the cost of those that
    were under way when the budget ran out."""
    book, spent, beyond = Book(), 0, 0
    under_way: list[tuple[int, int]] = []
    name = "key/a/usd/2026-11"
    for guess, cost in [*calls, *[(1, 0)] * at_once]:
        if len(under_way) == at_once:
            reserved, paid = under_way.pop(0)
            book.change("w", [Change(name, freed=reserved, spent=paid)], now=NOW)
            spent += paid
        if not isinstance(book.ask("w", [money(guess, budget)], now=NOW, workers=1), Denied):
            assert spent < budget
            under_way.append((guess, cost))
            beyond = spent + sum(paid for _, paid in under_way)
    assert beyond < budget + sum(sorted((cost for _, cost in calls), reverse=True)[:at_once]) + 1


def test_units_hold_a_record_s_cost_exactly() -> None:
    """Ten decimals, there and back."""
    for text in ("12", "0.0000000001", "899999.9999999999"):
        assert usd_of(units(Decimal(text))) == Decimal(text)


def test_the_owner_goes_on_after_a_kill(tmp_path: Path) -> None:
    """What was given and told is there again; a worker that does not come back within the grace loses what it
    held, one that does keeps what it says it holds."""
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    for worker in ("a", "b"):
        owner.hello(worker, {}, now=NOW)
        given_to(owner, minute(), running(limit=2), money(40, 1000), worker=worker)
    owner.tell("a", 1, [Change("key/a/usd/2026-11", freed=40, spent=25)], now=NOW)
    # No farewell of any kind.
    owner._kept.close()  # type: ignore[union-attr]  # as the kernel does
    owner = Owner(StateLog(tmp_path / "state"), now=NOW + 1)
    denied(owner, running(limit=2), worker="c", now=NOW + 1)
    assert owner.hello("a", {"key/a/concurrency": 1}, now=NOW + 1) == 1
    owner.tick(NOW + 1 + GRACE_S)
    grants = given_to(owner, minute(), running(limit=2), money(0, 1000), worker="a", now=NOW + 5)
    assert [grant.left for grant in grants] == [7, 0, 975]


@pytest.mark.parametrize("cut", ["zeros behind", "all zeros", "empty", "cut off"])
def test_the_owner_starts_after_a_power_cut(tmp_path: Path, cut: str) -> None:
    """A power cut may leave zeros where entries were: what stands before them is known, and nothing else."""
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    owner.hello("a", {}, now=NOW)
    owner.tick(NOW)
    given_to(owner, money(40, 1000), worker="a")
    owner._kept.close()  # type: ignore[union-attr]  # as the kernel does
    kept = (tmp_path / "state").read_bytes()
    left = {
        "zeros behind": kept + bytes(4096),
        "all zeros": bytes(len(kept)),
        "empty": b"",
        "cut off": kept[:9],
    }
    (tmp_path / "state").write_bytes(left[cut])
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    owner.hello("b", {}, now=NOW)
    room = 960 if cut == "zeros behind" else 1000
    assert given_to(owner, money(room, 1000), worker="b")
    denied(owner, money(1, 1000), worker="b")


def test_a_telling_counts_once(tmp_path: Path) -> None:
    """Told again, after a kill too, it changes nothing; a later one does."""
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    change = [Change("key/a/usd/2026-11", spent=10)]
    owner.hello("a", {}, now=NOW)
    owner.tell("a", 1, change, now=NOW)
    owner.tell("a", 1, change, now=NOW)
    owner.gone("a", now=NOW)
    owner._kept.close()  # type: ignore[union-attr]  # as the kernel does
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    assert owner.hello("a", {}, now=NOW) == 1
    owner.tell("a", 1, change, now=NOW)
    assert given_to(owner, money(0, 100))[0].left == 90
    owner.tell("a", 2, change, now=NOW)
    assert given_to(owner, money(0, 100))[0].left == 80


@pytest.mark.parametrize("rewrite_bytes", [1, 10_000_000])
def test_a_snapshot_and_what_happened_since_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewrite_bytes: int
) -> None:
    """Whether it was rewritten at every tick or never, the owner that starts again knows all of it."""
    monkeypatch.setattr(owner_module, "REWRITE_BYTES", rewrite_bytes)
    owner = Owner(StateLog(tmp_path / "state"), now=NOW)
    owner.hello("a", {}, now=NOW)
    for number in range(20):
        given_to(owner, minute(limit=100), money(1, 1000), worker="a", now=NOW + number)
        owner.tell("a", number + 1, [Change("key/a/usd/2026-11", freed=1, spent=2)], now=NOW + number)
        owner.tick(NOW + number)
    owner._kept.close()  # type: ignore[union-attr]  # as the kernel does
    owner = Owner(StateLog(tmp_path / "state"), now=NOW + 20)
    grants = given_to(owner, minute(limit=100), money(0, 1000), worker="a", now=NOW + 20)
    assert [grant.left for grant in grants] == [79, 960]


def test_what_is_written_of_a_user_is_gone_after_an_hour(tmp_path: Path) -> None:
    """Though too little happens to be worth another snapshot."""
    with closing(StateLog(tmp_path / "state")) as log:
        owner = Owner(log, now=NOW)
        owner.hello("a", {}, now=NOW)
        given_to(owner, Want("user/app/5eb63bbb/requests", "minute", 9, 1), worker="a")
        for later in (100.0, REWRITE_S / 2, REWRITE_S):
            assert b"5eb63bbb" in (tmp_path / "state").read_bytes()
            owner.tick(NOW + later)
        assert b"5eb63bbb" not in (tmp_path / "state").read_bytes()


def test_a_snapshot_that_the_disk_refuses_ends_nobody() -> None:
    """What is written already says the same."""
    disk = FullDisk()
    owner = Owner(disk, now=NOW)
    disk.full = True
    owner.tick(NOW + REWRITE_S)
    disk.full = False
    assert given_to(owner, minute())


class FullDisk:
    """A state log on a disk that may be full."""

    def __init__(self) -> None:
        self.full = False
        self.size = 0

    def read(self) -> list[bytes]:
        """Nothing was kept."""
        return []

    def rewrite(self, snapshot: bytes) -> None:
        """A new snapshot."""
        self.append(snapshot)

    def append(self, entry: bytes) -> None:  # noqa: ARG002 - nothing is kept
        """Refused while the disk is full."""
        if self.full:
            raise SetupError("full")


def test_nothing_is_given_that_cannot_be_written_down() -> None:
    """With the disk full nothing more is granted, what happens still counts, and then it goes on."""
    disk = FullDisk()
    owner = Owner(disk, now=NOW)
    owner.hello("a", {}, now=NOW)
    given_to(owner, running(limit=1), worker="a")
    disk.full = True
    with pytest.raises(SetupError):
        owner.ask("a", [minute()], now=NOW)
    owner.tell("a", 1, [Change("key/a/concurrency", freed=1)], now=NOW)
    with pytest.raises(SetupError):
        owner.ask("a", [running(limit=1)], now=NOW)
    disk.full = False
    grants = given_to(owner, minute(), running(limit=1), worker="a")
    assert [grant.left for grant in grants] == [9, 0]


def test_an_owner_that_starts_on_a_full_disk_gives_once_there_is_room(tmp_path: Path) -> None:
    """What was counted before holds, and so does what is told meanwhile."""
    with small_disk(tmp_path / "disk", 1) as disk:
        owner = Owner(StateLog(disk / "state"), now=NOW)
        owner.hello("a", {}, now=NOW)
        given_to(owner, money(40, 1000), worker="a")
        owner._kept.close()  # type: ignore[union-attr]  # as the kernel does
        ballast = fill(disk)
        owner = Owner(StateLog(disk / "state"), now=NOW)
        owner.hello("a", {}, now=NOW)
        owner.tell("a", 1, [Change("key/a/usd/2026-11", freed=40, spent=25)], now=NOW)
        with pytest.raises(SetupError, match="No space left"):
            owner.ask("a", [money(1, 1000)], now=NOW)
        ballast.unlink()
        assert given_to(owner, money(0, 1000), worker="a")[0].left == 975


def test_counters_that_say_nothing_are_dropped() -> None:
    """A minute after its last use a window is gone, and a budget's counter when its period is long over."""
    book = Book()
    given_to(book, minute(), money(1, 10))
    book.change("w", [Change("key/a/usd/2026-11", freed=1, spent=1)], now=NOW)
    book.sweep(NOW + 61)
    assert list(book.state().windows) == []
    assert list(book.state().holdings) == ["key/a/usd/2026-11"]
    book.sweep(NOW + 4 * 86_400)
    assert list(book.state().holdings) == []


def test_many_counters_are_dropped_some_at_a_time() -> None:
    """So that nobody waits for it; what is used stays, and a user's money goes after an hour."""
    book, after = Book(), NOW + FORGET_USER_S + 1
    for n in range(SWEEP_MAX):
        of_user = Want(f"user/a/{n}/usd/2026-11", "money", 10, 1)
        given_to(book, minute(counter=f"user/a/{n}/requests"), of_user)
        book.change("w", [Change(of_user.counter, freed=1, spent=1)], now=NOW)
    given_to(book, minute(counter="used"), now=after)
    sizes = []
    for _ in range(4):
        book.sweep(after)
        sizes.append(len(book.state().windows) + len(book.state().holdings))
    assert sizes == [SWEEP_MAX + 1, 2, 1, 1]
    assert list(book.state().windows) == ["used"]
