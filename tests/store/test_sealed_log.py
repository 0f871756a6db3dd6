"""Bodies sealed before a record log has them: what its files hold, and who can read it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.store.datadir import DataDir
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.erasures import SqlErasures
from airboss.store.keyring import Keyring
from airboss.store.memory import MemoryRecordLog
from airboss.store.opinions import CORRECTED, CORRECTION, ERASED, corrections
from airboss.store.sealed_log import SealedLog
from airboss.store.sealed_marks import NAME
from tests.store.keys import MASTER, holder, ring, sealed
from tests.store.ledgers import url
from tests.store.samples import SEGMENT, START, call_id, closed_json, move, opened_json, record
from tests.support.clickhouse import House
from tests.support.files import holding

ALL = RecordFilter()
WORDS = "unmistakable words 7f3a"
SAID = msgspec.Raw(b'{"messages":[{"role":"user","content":"%s"}]}' % WORDS.encode())
ANSWERED = msgspec.Raw(b'{"id":"chatcmpl-1","choices":[{"message":{"content":"%s"}}]}' % WORDS.encode())
DAY = timedelta(days=1)


class Store:
    """A data directory with keys and a DuckDB file; `wanted` says whether what comes is sealed."""

    def __init__(self, root: Path, keys: Keyring) -> None:
        self.root, self.keys, self.wanted = root, keys, True
        self.inner = DuckDBRecordLog(root / "records.duckdb")
        self.log = SealedLog(self.inner, keys, wanted=lambda: self.wanted)
        self.at = 0

    def takes(self, *numbers: int, **fields: Any) -> None:
        """Calls are moved."""
        given = {"request": SAID, "response": ANSWERED, **fields}
        self.at = self.log.apply(move(*numbers, start=self.at, **given))

    def read(self, number: int) -> InferenceRecord:
        """A record, as it is read."""
        (found,) = self.log.records(RecordFilter(id=call_id(number)), limit=1, bodies=True)
        return found

    def forgets(self, user: str) -> None:
        """A person is to be forgotten."""
        people = SqlErasures(url("sqlite", self.root))
        people.ask(user, digest=holder(user), at=datetime.now(UTC), by="admin")
        people.close()


@contextmanager
def opened(root: Path) -> Iterator[Store]:
    """The store of a data directory."""
    with ring(root) as keys:
        store = Store(root, keys)
        yield store
        store.log.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    with opened(tmp_path) as made:
        yield made


def reason(body: Any) -> str:
    """Why a body does not open."""
    assert list(body) == [NAME]
    return str(body[NAME])


def test_the_files_of_the_log_hold_no_words(store: Store) -> None:
    """Neither of records, nor of open calls, nor of scores; read they are all there."""
    store.takes(1, user="ann")
    begun = {call_id(2): opened_json(2, user="ann", request=SAID)}
    store.at = store.log.apply(JournalMove(segment=SEGMENT, start=store.at, end=200, opened=begun))
    store.log.put_scores([remark("s1", 1, "bob")])
    store.inner.close()
    assert holding(store.root, WORDS.encode()) == []
    assert holding(store.root, b"ann") == ["records.duckdb"]
    with opened(store.root) as again:
        assert again.read(1).request["messages"][0]["content"] == WORDS
        assert again.read(1).response["id"] == "chatcmpl-1"
        assert [each.comment for each in again.log.scores_of([call_id(1)])] == [WORDS]


def test_a_cause_that_may_quote_the_call_is_sealed(store: Store) -> None:
    """A judge may have no value to give and say so in the call's own words, also of what waits for its
    record: it is sealed as a comment is, goes with its person, and is read as it was said. That something was
    erased is no cause."""
    store.takes(1, user="ann")
    why = f"the judge answered {WORDS!r}"
    plain = {"value": None, "comment": None, "unscored": why, "user": None}
    given = [msgspec.structs.replace(remark("s1", 1, None), **plain)]
    given.append(msgspec.structs.replace(given[0], id="s2", unscored=ERASED))
    store.log.put_scores(given)
    later = msgspec.structs.replace(given[0], id="s3", subject_id=call_id(2))
    scores = (msgspec.json.encode(later),)
    store.at = store.log.apply(JournalMove(segment=SEGMENT, start=store.at, end=400, scores=scores))
    store.takes(2, user="ann")
    told = {each.id: each.unscored for each in store.log.scores_of([call_id(1), call_id(2)])}
    assert told == {"s1": why, "s2": ERASED, "s3": why}
    store.inner.close()
    assert holding(store.root, WORDS.encode()) == []
    store.forgets("ann")
    with opened(store.root) as again:
        told = {each.id: each.unscored for each in again.log.scores_of([call_id(1)])}
        assert ("was destroyed" in (told["s1"] or ""), told["s2"]) == (True, ERASED)
        again.log.erase({"ann": datetime.now(UTC)})
        assert {each.unscored for each in again.log.scores_of([call_id(1), call_id(2)])} == {ERASED}


def test_what_only_looks_sealed_is_sealed(store: Store) -> None:
    """A caller's own words behind our mark stand in no file, and are read as they were said."""
    request = msgspec.Raw(b'{"airboss_sealed":"1.k.e","messages":[{"content":"%s"}]}' % WORDS.encode())
    response = msgspec.Raw(b'{"airboss_sealed":"%s"}' % WORDS.encode())
    store.takes(1, user="ann", request=request, response=response)
    store.log.put_scores([msgspec.structs.replace(remark("s1", 1, "bob"), comment=f"{NAME}:{WORDS}")])
    found = store.read(1)
    assert found.request["messages"] == [{"content": WORDS}]
    assert found.response == {NAME: WORDS}
    assert [each.comment for each in store.log.scores_of([call_id(1)])] == [f"{NAME}:{WORDS}"]
    store.inner.close()
    assert holding(store.root, WORDS.encode()) == []


def test_no_words_are_in_a_clickhouse(clickhouse: House, tmp_path: Path) -> None:
    """Its tables hold what is sealed."""
    from airboss.store.clickhouse import ClickHouseRecordLog  # noqa: PLC0415 - one test's

    with clickhouse.database() as address:
        inner = ClickHouseRecordLog(address)
        with sealed(inner, tmp_path) as log:
            log.apply(move(1, request=SAID, response=ANSWERED, user="ann"))
            (kept,) = inner.records(ALL, limit=1, bodies=True)
            assert list(kept.request) == [NAME]
            assert (list(kept.response), kept.response["id"]) == ([NAME, "id"], "chatcmpl-1")
            (found,) = log.records(ALL, limit=1, bodies=True)
            assert found.request["messages"][0]["content"] == WORDS
        inner.close()


def remark(name: str, number: int, user: str | None) -> Score:
    """Somebody's words about a call."""
    return Score(
        id=name,
        subject="record",
        subject_id=call_id(number),
        name="helpful",
        source="human",
        by="team-a",
        at=START + timedelta(minutes=1),
        value=True,
        comment=WORDS,
        user=user,
    )


def test_a_body_put_into_another_record_does_not_open(store: Store) -> None:
    """Nor a response put in the place of a request; it is told, and the record is there."""
    store.takes(1, 2, user="ann")
    store.inner.close()
    with duckdb.connect(str(store.root / "records.duckdb")) as file:
        rows = file.execute("select seq, request, response from bodies order by seq").fetchall()
        (first, request, _), (second, _, response) = rows
        file.execute("update bodies set request = ? where seq = ?", [request, second])
        file.execute("update bodies set request = ? where seq = ?", [response, first])
    with opened(store.root) as again:
        for number in (1, 2):
            assert "put here from another place" in reason(again.read(number).request)
            assert again.read(number).response["id"] == "chatcmpl-1"


def test_an_old_copy_of_the_log_cannot_be_read_after_its_person_was_forgotten(store: Store) -> None:
    """Nor can comments about their calls, and theirs about calls of others. Whoever else is in it can."""
    store.takes(1, user="ann")
    store.takes(2, user="bob")
    store.log.put_scores([remark("s1", 1, "bob"), remark("s2", 2, "ann"), remark("s3", 2, "bob")])
    store.inner.close()
    shutil.copy(store.root / "records.duckdb", store.root / "copy")
    store.forgets("ann")
    with opened(store.root) as again:
        assert "was destroyed" in reason(again.read(1).request)  # at once, though nothing is erased yet
        again.keys.destroy_forgotten()
        again.log.erase({"ann": datetime.now(UTC)})
        assert (again.read(1).request, again.read(2).request["messages"][0]["content"]) == (None, WORDS)
    shutil.copy(store.root / "copy", store.root / "records.duckdb")
    with opened(store.root) as old:
        assert old.read(1).user == "ann"
        assert "was destroyed" in reason(old.read(1).request)
        assert "was destroyed" in reason(old.read(1).response)
        assert old.read(2).request["messages"][0]["content"] == WORDS
        said = {each.id: each.comment for each in old.log.scores_of([call_id(1), call_id(2)])}
        assert said["s3"] == WORDS
        assert all("was destroyed" in (said[name] or "") for name in ("s1", "s2"))


def test_what_would_have_been_right_is_sealed_and_is_none_where_it_does_not_open(store: Store) -> None:
    """Or else the reason would be taken for the text."""
    store.takes(1, user="ann")
    given = {"name": CORRECTION, "source": "review", "by": "otto", "value": CORRECTED}
    store.log.put_scores([msgspec.structs.replace(remark("s1", 1, None), **given)])
    assert not holding(store.root, WORDS.encode())
    assert corrections(store.log.scores_of([call_id(1)]))[call_id(1)].comment == WORDS
    store.forgets("ann")
    (left,) = store.log.scores_of([call_id(1)])
    assert "was destroyed" in (left.comment or "")
    assert corrections([left]) == {}


def test_a_switch_leaves_what_is_there(store: Store) -> None:
    """Stored before sealing it stays as it was; sealed before a switch back it is still read. A search meets
    no words by chance in what is sealed."""
    store.wanted = False
    store.takes(1)
    store.wanted = True
    store.takes(2)
    with pytest.raises(ValueError, match="bodies are sealed here"):
        store.log.search(ALL, WORDS, limit=9, bodies=False)
    store.wanted = False
    store.takes(3)
    for number in (1, 2, 3):
        assert store.read(number).request["messages"][0]["content"] == WORDS
    found = store.log.search(ALL, "unmistakable", limit=9, bodies=False)
    assert [(each.id, each.request) for each in found.records] == [(call_id(3), None), (call_id(1), None)]
    (kept,) = store.inner.records(RecordFilter(id=call_id(2)), limit=1, bodies=True)
    chance = str(kept.request[NAME]).split(".")[1].split("-")[0].split("_")[0]  # a word of what is sealed
    if chance:
        assert store.log.search(ALL, chance, limit=9, bodies=True).records == ()


def test_no_words_are_looked_up_of_what_is_sealed(store: Store) -> None:
    """The table of words stays empty."""
    for start in range(0, 5000, 500):
        store.takes(*range(start, start + 500))
    while store.inner.tidy():
        pass
    store.inner.close()
    with duckdb.connect(str(store.root / "records.duckdb")) as file:
        ((blocks,),) = file.execute("select count(*) from word_blocks").fetchall()
        ((words,),) = file.execute("select count(distinct hash) from words").fetchall()
    assert blocks == 4
    assert words <= 1  # of an empty text


def test_an_end_that_comes_later_has_its_persons_key(store: Store) -> None:
    """Whether the gateway said whose it is or it is remembered from its beginning."""
    for number, user in ((1, "ann"), (2, None)):
        begun = {call_id(number): opened_json(number, user="ann", request=SAID)}
        store.at = store.log.apply(
            JournalMove(segment=SEGMENT, start=store.at, end=store.at + 1, opened=begun)
        )
        end = {call_id(number): closed_json(number, response=ANSWERED, user=user)}
        store.at = store.log.apply(JournalMove(segment=SEGMENT, start=store.at, end=store.at + 1, closed=end))
        assert store.read(number).response["id"] == "chatcmpl-1"
    store.forgets("ann")
    for number in (1, 2):
        assert "was destroyed" in reason(store.read(number).response)


def test_retention_destroys_the_keys_of_nobody(store: Store) -> None:
    """An old copy of what has expired cannot be read."""
    store.takes(1)
    store.inner.close()
    shutil.copy(store.root / "records.duckdb", store.root / "copy")
    with opened(store.root) as again:
        assert again.log.expire(bodies_before=START + DAY, records_before=None, limit=10) == 1
    shutil.copy(store.root / "copy", store.root / "records.duckdb")
    with opened(store.root) as old:
        assert "its time was over" in reason(old.read(1).request)


def test_without_the_master_key_moves_wait_and_numbers_are_read(store: Store) -> None:
    """Nothing is taken, nothing is lost, and the message says what to do."""
    store.takes(1, user="ann")
    store.inner.close()
    path = DataDir(store.root).path / "secrets" / MASTER
    kept = path.read_bytes()
    path.unlink()
    with opened(store.root) as again:
        again.at = 100
        for user in ("ann", "bob"):
            with pytest.raises(StoreUnavailable, match="secrets/bodies_key"):
                again.takes(2, user=user)
        assert again.log.offset(SEGMENT) == 100
        assert again.read(1).output_tokens == 8
        assert "secrets/bodies_key" in reason(again.read(1).request)
        path.write_bytes(kept)
        again.takes(2, user="bob")
        assert again.read(1).request == again.read(2).request


def test_killed_between_making_a_key_and_the_move_nothing_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is there; the move made again takes it."""

    def killed(_move: JournalMove) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.inner, "apply", killed)
        with pytest.raises(KeyboardInterrupt):
            store.takes(1, user="ann")
    (before,) = {key.id for key in store.keys.keys([("ann", START, "bodies")]).values()}
    store.inner.close()
    with opened(store.root) as again:
        again.takes(1, user="ann")
        assert again.read(1).request["messages"][0]["content"] == WORDS
        assert {key.id for key in again.keys.keys([("ann", START, "bodies")]).values()} == {before}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(request=json_values, response=json_values, user=st.none() | st.text(max_size=8), words=st.text())
def test_whatever_goes_in_comes_out(
    store: Store, request: Any, response: Any, user: str | None, words: str
) -> None:
    """Any bodies and comments, of anybody."""
    log = SealedLog(MemoryRecordLog(), store.keys, wanted=lambda: True)
    bodies: dict[str, Any] = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in (("request", request), ("response", response))
    }
    log.apply(move(1, user=user, **bodies))
    log.put_scores([msgspec.structs.replace(remark("s", 1, user), comment=words)])
    assert list(log.records(ALL, limit=1, bodies=True)) == [
        msgspec.structs.replace(
            record(1, user=user), request=request, response=response, scores={"helpful": True}
        )
    ]
    assert [each.comment for each in log.scores_of([call_id(1)])] == [words]
