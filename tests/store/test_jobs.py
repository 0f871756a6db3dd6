"""Jobs in the database: claimed once, kept by who beats, taken over from who does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from airboss.store.job_rows import Job
from airboss.store.jobs import CLAIMS_MAX, SqlJobStore

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
LEASE_S = 10.0


@pytest.fixture
def store(address: str) -> Iterator[SqlJobStore]:
    """An empty store."""
    made = SqlJobStore(address)
    yield made
    made.close()


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def add(store: SqlJobStore, kind: str = "eval", at: datetime = NOW) -> Job:
    """A new job."""
    return store.add(kind, {"x": 1}, "ann", at)


def test_a_job_comes_back_as_it_was_put(store: SqlJobStore) -> None:
    """It is queued, with its spec, who asked for it and when."""
    job = add(store)
    assert store.get(job.id) == job
    assert (job.state, job.done, job.total, job.by, job.created_at) == ("queued", 0, 0, "ann", NOW)
    assert msgspec.json.decode(job.spec) == {"x": 1}
    assert (job.result, job.error, job.ended) == (None, None, False)
    assert store.add("eval", msgspec.Raw(b'{"y":2}'), "ann", NOW).spec == msgspec.Raw(b'{"y":2}')
    assert store.get("eval-none") is None


def test_jobs_are_listed_newest_first(store: SqlJobStore) -> None:
    """By kind where one is given, and no more than asked for."""
    old, new, other = add(store), add(store, at=later(1)), add(store, "tune", later(2))
    assert [each.id for each in store.list()] == [other.id, new.id, old.id]
    assert [each.id for each in store.list("eval", limit=1)] == [new.id]


def test_the_oldest_queued_job_is_claimed(store: SqlJobStore) -> None:
    """Each job once, the first that came first; then there is none."""
    first, second = add(store), add(store, at=later(1))
    claimed = store.claim("one", later(2), LEASE_S)
    assert claimed is not None
    assert (claimed.id, claimed.state) == (first.id, "running")
    other = store.claim("two", later(2), LEASE_S)
    assert other is not None
    assert other.id == second.id
    assert store.claim("three", later(2), LEASE_S) is None


def test_times_of_other_zones_are_the_same_moments(store: SqlJobStore) -> None:
    """A lease is over when its time is over, whatever zone the clock shows."""
    add(store)
    east = timezone(timedelta(hours=9))
    assert store.claim("one", NOW.astimezone(east), LEASE_S) is not None
    assert store.claim("two", later(9), LEASE_S) is None
    assert store.claim("two", later(11).astimezone(east), LEASE_S) is not None


def test_a_beat_keeps_the_lease_and_says_how_far_it_is(store: SqlJobStore) -> None:
    """A silent owner loses its job after the lease; one that beats does not."""
    job = add(store)
    store.claim("one", NOW, LEASE_S)
    assert store.beat(job.id, "one", done=3, total=9, note="asking", now=later(9))
    assert store.claim("two", later(18), LEASE_S) is None
    taken = store.claim("two", later(19.5), LEASE_S)
    assert taken is not None
    assert (taken.done, taken.total, taken.note) == (3, 9, "asking")
    assert not store.beat(job.id, "one", done=4, total=9, note="", now=later(20))
    assert store.beat(job.id, "two", done=5, total=9, note="", now=later(20))


def test_a_job_whose_owner_died_before_the_clock_was_set_back_is_claimed(store: SqlJobStore) -> None:
    """It is not waited for until the same hour comes again; one that was beaten since is its owner's."""
    job = add(store)
    assert store.claim("one", later(86_400), LEASE_S) is not None
    assert store.beat(job.id, "one", done=0, total=9, note="", now=NOW)
    assert store.claim("two", NOW, LEASE_S) is None
    assert store.beat(job.id, "one", done=0, total=9, note="", now=later(1_800))
    assert store.claim("two", NOW, LEASE_S) is None, (
        "who claims may have been held up since it looked at its clock"
    )
    assert store.beat(job.id, "one", done=0, total=9, note="", now=later(86_400))
    assert store.claim("two", NOW, LEASE_S) is not None


def test_only_the_owner_ends_a_job(store: SqlJobStore) -> None:
    """Who lost a job can neither finish it, nor fail it, nor give it back."""
    job = add(store)
    store.claim("one", NOW, LEASE_S)
    store.claim("two", later(11), LEASE_S)
    assert not store.finish(job.id, "one", 1, later(12))
    assert not store.fail(job.id, "one", "no", later(12))
    assert not store.release(job.id, "one", later(12))
    assert store.finish(job.id, "two", {"n": 2}, later(13))
    done = store.get(job.id)
    assert done is not None
    assert (done.state, done.result, done.ended) == ("done", msgspec.Raw(b'{"n":2}'), True)
    assert not store.finish(job.id, "two", 3, later(14))
    assert store.claim("three", later(99), LEASE_S) is None


def test_a_failed_job_says_why(store: SqlJobStore) -> None:
    """And is not begun again."""
    job = add(store)
    store.claim("one", NOW, LEASE_S)
    assert store.fail(job.id, "one", "the dataset is gone", later(1))
    failed = store.get(job.id)
    assert failed is not None
    assert (failed.state, failed.error) == ("failed", "the dataset is gone")
    assert store.claim("two", later(99), LEASE_S) is None


def test_a_job_given_back_is_claimed_at_once(store: SqlJobStore) -> None:
    """Nobody waits for its lease, and it may be given back any number of times."""
    job = add(store)
    for turn in range(CLAIMS_MAX + 5):
        claimed = store.claim(f"o{turn}", NOW, LEASE_S)
        assert claimed is not None
        assert store.release(job.id, f"o{turn}", NOW)
    found = store.get(job.id)
    assert found is not None
    assert found.state == "queued"


def test_cancelling(store: SqlJobStore) -> None:
    """A queued job is never begun, a running one hears it at its next beat, a done one stays done."""
    queued, running, done = add(store, at=later(2)), add(store, at=later(1)), add(store)
    store.claim("d", NOW, LEASE_S)
    store.finish(done.id, "d", None, NOW)
    store.claim("r", NOW, LEASE_S)
    for job in (queued, running):
        found = store.cancel(job.id, later(5))
        assert found is not None
        assert found.state == "cancelled"
    assert not store.beat(running.id, "r", done=1, total=1, note="", now=later(6))
    assert not store.finish(running.id, "r", 1, later(6))
    still = store.cancel(done.id, later(6))
    assert still is not None
    assert still.state == "done"
    assert store.cancel("eval-none", NOW) is None
    assert store.claim("x", later(99), LEASE_S) is None


def test_a_job_that_kills_its_owners_is_given_up(store: SqlJobStore) -> None:
    """After so many owners that fell silent it has failed, and the next job is claimed in its place."""
    bad, good = add(store), add(store, at=later(1))
    for turn in range(CLAIMS_MAX):
        claimed = store.claim(f"o{turn}", later(11 * turn), LEASE_S)
        assert claimed is not None
        assert claimed.id == bad.id
    claimed = store.claim("last", later(11 * CLAIMS_MAX), LEASE_S)
    assert claimed is not None
    assert claimed.id == good.id
    given_up = store.get(bad.id)
    assert given_up is not None
    assert given_up.state == "failed"
    assert "20 times" in str(given_up.error)


def test_many_claimants_share_the_jobs(address: str) -> None:
    """Eight threads on two openings of one database claim fifty jobs, each once."""
    stores = [SqlJobStore(address) for _ in range(2)]
    wanted = {add(stores[0]).id for _ in range(50)}
    claimed: list[str] = []

    def work(number: int) -> None:
        while (job := stores[number % 2].claim(f"o{number}-{len(claimed)}", NOW, LEASE_S)) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(wanted)
    for each in stores:
        each.close()


def test_a_result_is_bounded(store: SqlJobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a job may hold is refused."""
    monkeypatch.setattr("airboss.store.jobs.RESULT_BYTES_MAX", 10)
    job = add(store)
    store.claim("one", NOW, LEASE_S)
    with pytest.raises(ValueError, match="at most 10 are kept"):
        store.finish(job.id, "one", "x" * 20, NOW)
