"""Datasets, paid answers and evaluation results in SQL, in the ledger's database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from airboss.domain.errors import WrongCall
from airboss.store.eval_rows import (
    AnswerRow,
    AnyPart,
    DatasetRow,
    HoldoutRead,
    ItemRow,
    OpenPart,
    ResultRow,
    RunRow,
    Tally,
)
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import (
    dataset_items,
    datasets,
    erasures,
    eval_answers,
    eval_results,
    eval_runs,
    holdout_reads,
    jobs,
)

INSERT_ROWS: Final = 1_000
EXPIRED_RUNS: Final = 4
"""Of so many runs the results are deleted at once; one may have as many as its dataset has items."""


class _Held(msgspec.Struct, frozen=True):
    """What is read here of a run's plan: the run whose results it is held to."""

    held_to: str | None = None


T = TypeVar("T", bound=msgspec.Struct)


class SqlEvalStore(LedgerPart):
    """`evaluations.ports.EvalStore`. Safe to use by threads, and by several processes on one database.

    Every write is on disk when its call returns: what was paid for is not paid for again. All calls raise
    SetupError if the database cannot be used.
    """

    def put_dataset(self, dataset: DatasetRow, items: Sequence[ItemRow]) -> bool:
        """As `EvalStore.put_dataset`."""
        with self._write() as connection:
            new, whole = _put_again(connection, dataset)
            if not whole:
                _put(connection, dataset, items, root=uuid4().hex, grown=0)
            return new

    def grow_dataset(
        self, dataset: DatasetRow, items: Sequence[ItemRow], *, onto: str | None, gone: Sequence[str] = ()
    ) -> bool:
        """As `EvalStore.grow_dataset`."""
        with self._write() as connection:
            mine = select(datasets).where(datasets.c.name == dataset.name)
            base = connection.execute(mine.order_by(datasets.c.created_at.desc()).limit(1)).one_or_none()
            if (None if base is None else base.digest) != onto:
                return False
            if _count(connection, onto, gone) < len(gone):
                return False  # of somebody who was forgotten meanwhile: they do not come back in another form
            if _put_again(connection, dataset)[1]:
                return True
            root, grown = uuid4().hex, 0
            if base is not None:
                others = (datasets.c.root == base.root) & (datasets.c.grown > base.grown)
                if connection.execute(select(datasets.c.name).where(others).limit(1)).first() is None:
                    root, grown = base.root, base.grown + 1
                else:  # it was added to before, in another way: items of both would be mixed up
                    _copy(connection, base.digest, dataset.digest, root)
                _end(connection, root, gone, at=grown)
            _put(connection, dataset, items, root=root, grown=grown)
            return True

    def datasets(self) -> tuple[DatasetRow, ...]:
        """As `EvalStore.datasets`."""
        with self._read() as connection:
            rows = connection.execute(
                select(datasets).order_by(datasets.c.created_at.desc(), datasets.c.name)
            )
            return tuple(_read(row, DatasetRow) for row in rows)

    def items(self, digest: str, part: OpenPart) -> tuple[ItemRow, ...]:
        """As `EvalStore.items`."""
        with self._read() as connection:
            return _items(connection, digest, part)

    def every_item(self, digest: str) -> tuple[ItemRow, ...]:
        """As `EvalStore.every_item`."""
        with self._read() as connection:
            rows = connection.execute(select(dataset_items).where(_of(digest)).order_by(dataset_items.c.id))
            return tuple(_read(row, ItemRow) for row in rows)

    def forms(self, name: str, ids: Sequence[str]) -> tuple[ItemRow, ...]:
        """As `EvalStore.forms`."""
        found: list[ItemRow] = []
        roots = dataset_items.c.dataset.in_(select(datasets.c.root).where(datasets.c.name == name))
        with self._read() as connection:
            for start in range(0, len(ids), INSERT_ROWS):
                mine = roots & dataset_items.c.id.in_(ids[start:][:INSERT_ROWS])
                rows = connection.execute(select(dataset_items).where(mine))
                found += (_read(row, ItemRow) for row in rows)
        return tuple(found)

    def open_holdout(self, read: HoldoutRead) -> tuple[int, tuple[ItemRow, ...]]:
        """As `EvalStore.open_holdout`."""
        with self._write() as connection:
            before = connection.execute(
                select(func.count()).select_from(holdout_reads).where(_read_with(read.dataset))
            ).scalar_one()
            connection.execute(insert(holdout_reads).values(**_values(read)))
            return before, _items(connection, read.dataset, "holdout")

    def reopen_holdout(self, digest: str, *, who: str, why: str) -> tuple[int, tuple[ItemRow, ...]] | None:
        """As `EvalStore.reopen_holdout`."""
        of = holdout_reads.c.dataset == digest
        with self._read() as connection:
            read = connection.execute(
                select(func.max(holdout_reads.c.number)).where(
                    of & (holdout_reads.c.who == who) & (holdout_reads.c.why == why)
                )
            ).scalar()
            if read is None:
                return None
            before = connection.execute(
                select(func.count())
                .select_from(holdout_reads)
                .where(_read_with(digest) & (holdout_reads.c.number < read))
            ).scalar_one()
            return before, _items(connection, digest, "holdout")

    def holdout_reads(self, digest: str) -> tuple[HoldoutRead, ...]:
        """As `EvalStore.holdout_reads`."""
        with self._read() as connection:
            rows = connection.execute(
                select(holdout_reads).where(_read_with(digest)).order_by(holdout_reads.c.number)
            )
            return tuple(_read(row, HoldoutRead) for row in rows)

    def part_sizes(self, digest: str) -> dict[str, int]:
        """As `EvalStore.part_sizes`."""
        with self._read() as connection:
            rows = connection.execute(
                select(dataset_items.c.part, func.count().label("size"))
                .where(_of(digest))
                .group_by(dataset_items.c.part)
            )
            return {row.part: row.size for row in rows}

    def tallies(self) -> Mapping[str, Tally]:
        """As `EvalStore.tallies`."""
        it = dataset_items.c
        by = (it.dataset, it.since, it.until, it.part)
        with self._read() as connection:
            came: dict[str, list[tuple[int, int | None, str, int]]] = defaultdict(list)
            for root, since, until, name, size in connection.execute(select(*by, func.count()).group_by(*by)):
                came[root].append((since, until, name, size))
            of = holdout_reads.c.dataset
            counted = connection.execute(select(of, func.count()).group_by(of))
            reads: dict[str, int] = {digest: times for digest, times in counted}  # noqa: C416 - of rows
            found = {}
            rows = connection.execute(select(datasets.c.digest, datasets.c.root, datasets.c.grown)).all()
            versions: dict[str, set[str]] = defaultdict(set)
            for row in rows:
                versions[row.root].add(row.digest)
            for row in rows:
                sizes: Counter[str] = Counter()
                for since, until, name, size in came[row.root]:
                    if since <= row.grown and (until is None or row.grown < until):
                        sizes[name] += size
                read = sum(reads.get(each, 0) for each in versions[row.root])
                found[row.digest] = Tally(sizes=dict(sizes), reads=read)
            return found

    def answer(self, key: str) -> str | None:
        """As `EvalStore.answer`."""
        with self._read() as connection:
            return connection.execute(
                select(eval_answers.c.content).where(eval_answers.c.key == key)
            ).scalar()

    def forgotten(self, subject: str, user: str) -> bool:
        """As `EvalStore.forgotten`."""
        with self._read() as connection:
            return _forgotten(connection, subject, user)

    def put_answer(
        self,
        key: str,
        *,
        subject: str,
        content: str,
        at: datetime,
        user: str | None = None,
        dataset: str | None = None,
    ) -> None:
        """As `EvalStore.put_answer`."""
        with self._write() as connection:
            _check_there(connection, dataset)
            if user is not None and _forgotten(connection, subject, user):
                return
            known = connection.execute(select(eval_answers.c.key).where(eval_answers.c.key == key)).scalar()
            if known is None:
                row = {"key": key, "subject": subject, "content": content, "at": at.isoformat()}
                connection.execute(insert(eval_answers).values(**row))

    def put_answers(self, answers: Sequence[AnswerRow], *, at: datetime, dataset: str) -> None:
        """As `EvalStore.put_answers`."""
        with self._write() as connection:
            _check_there(connection, dataset)
            stay = _remembered(connection, {row.user for row in answers if row.user is not None})
            for start in range(0, len(answers), INSERT_ROWS):
                some = {row.key: row for row in answers[start:][:INSERT_ROWS]}
                mine = select(eval_answers.c.key).where(eval_answers.c.key.in_(list(some)))
                there = set(connection.execute(mine).scalars())
                new = [
                    {"key": key, "subject": row.subject, "content": row.content, "at": at.isoformat()}
                    for key, row in some.items()
                    if key not in there and (row.user is None or (row.user, row.subject) in stay)
                ]
                if new:
                    connection.execute(insert(eval_answers), new)

    def put_run(self, run: RunRow) -> None:
        """As `EvalStore.put_run`."""
        with self._write() as connection:
            connection.execute(insert(eval_runs).values(**_values(run)))

    def finish_run(self, run_id: str, report: str) -> None:
        """As `EvalStore.finish_run`."""
        with self._write() as connection:
            connection.execute(
                update(eval_runs).where(eval_runs.c.id == run_id).values(state="done", report=report)
            )

    def run(self, run_id: str) -> RunRow | None:
        """As `EvalStore.run`."""
        with self._read() as connection:
            row = connection.execute(select(eval_runs).where(eval_runs.c.id == run_id)).one_or_none()
            return None if row is None else _read(row, RunRow)

    def put_result(self, result: ResultRow, *, user: str | None = None, dataset: str | None = None) -> None:
        """As `EvalStore.put_result`."""
        with self._write() as connection:
            _check_there(connection, dataset)
            if user is not None and _forgotten(connection, result.subject, user):
                return
            same = (
                (eval_results.c.run == result.run)
                & (eval_results.c.item == result.item)
                & (eval_results.c.arm == result.arm)
                & (eval_results.c.repeat == result.repeat)
            )
            connection.execute(delete(eval_results).where(same))
            connection.execute(insert(eval_results).values(**_values(result)))

    def results(self, run_id: str) -> tuple[ResultRow, ...]:
        """As `EvalStore.results`."""
        with self._read() as connection:
            rows = connection.execute(
                select(eval_results)
                .where(eval_results.c.run == run_id)
                .order_by(eval_results.c.item, eval_results.c.arm, eval_results.c.repeat)
            )
            return tuple(_read(row, ResultRow) for row in rows)

    def drop_dataset(self, name: str) -> int:
        """As `EvalStore.drop_dataset`."""
        with self._write() as connection:
            mine = datasets.c.name == name
            digests = connection.execute(select(datasets.c.digest).where(mine)).scalars().all()
            connection.execute(delete(datasets).where(mine))
            of_root = datasets.c.root == dataset_items.c.dataset
            orphaned = ~exists().where(of_root & _there(datasets.c.grown))
            gone = set(connection.execute(select(dataset_items.c.subject).where(orphaned)).scalars())
            connection.execute(delete(dataset_items).where(orphaned))
            gone -= set(connection.execute(select(dataset_items.c.subject)).scalars())
            left = sorted(gone)
            for start in range(0, len(left), INSERT_ROWS):
                some = left[start:][:INSERT_ROWS]
                for table in (eval_answers, eval_results):
                    connection.execute(delete(table).where(table.c.subject.in_(some)))
            return len(digests)

    def expire(self, before: datetime, limit: int) -> int:
        """As `EvalStore.expire`."""
        with self._write() as connection:
            old = select(eval_answers.c.key).where(eval_answers.c.at < before.isoformat()).limit(limit)
            gone = connection.execute(delete(eval_answers).where(eval_answers.c.key.in_(old))).rowcount
            goes_on = exists().where((jobs.c.id == eval_runs.c.id) & jobs.c.state.in_(("queued", "running")))
            there = exists().where(eval_results.c.run == eval_runs.c.id)
            later = eval_runs.c.created_at >= before.isoformat()
            plans = connection.execute(select(eval_runs.c.content).where(later)).scalars()
            needed = {msgspec.json.decode(plan, type=_Held).held_to for plan in plans}
            over = ~later & ~goes_on & there & eval_runs.c.id.not_in(needed - {None})
            runs = select(eval_runs.c.id).where(over).limit(EXPIRED_RUNS)
            return (
                gone + connection.execute(delete(eval_results).where(eval_results.c.run.in_(runs))).rowcount
            )

    def forget_user(self, user: str) -> int:
        """As `EvalStore.forget_user`."""
        with self._write() as connection:
            theirs = select(dataset_items.c.subject).where(dataset_items.c.user == user)
            for table in (eval_answers, eval_results):
                connection.execute(delete(table).where(table.c.subject.in_(theirs)))
            return connection.execute(delete(dataset_items).where(dataset_items.c.user == user)).rowcount


def _check_there(connection: Connection, dataset: str | None) -> None:
    """Raises WrongCall for a dataset that was deleted: what is kept of it would outlive it."""
    if dataset is None:
        return
    there = select(datasets.c.digest).where(datasets.c.digest == dataset).limit(1)
    if connection.execute(there).first() is None:
        raise WrongCall(f"dataset {dataset[:12]} was deleted meanwhile; nothing more is asked of it")


def _forgotten(connection: Connection, subject: str, user: str) -> bool:
    pending = select(erasures.c.id).where(erasures.c.user == user).limit(1)
    mine = (dataset_items.c.user == user) & (dataset_items.c.subject == subject)
    there = select(dataset_items.c.id).where(mine).limit(1)
    return connection.execute(pending).first() is not None or connection.execute(there).first() is None


def _remembered(connection: Connection, users: set[str]) -> set[tuple[str, str]]:
    """The items that these people have, as they and what is asked: those that are not `_forgotten`."""
    every, found = sorted(users), set()
    it = dataset_items.c
    for start in range(0, len(every), INSERT_ROWS):
        some = every[start:][:INSERT_ROWS]
        pending = set(connection.execute(select(erasures.c.user).where(erasures.c.user.in_(some))).scalars())
        kept = connection.execute(select(it.user, it.subject).where(it.user.in_(some)))
        found |= {(user, subject) for user, subject in kept if user not in pending}
    return found


def _of(digest: str) -> ColumnElement[bool]:
    """What holds for the items of this dataset: those of its `root` that were there when it had grown so far.
    What an item says is never changed, so that a dataset that becomes another shares with it what both have.
    """
    it = datasets.c.digest == digest
    root = select(datasets.c.root).where(it).limit(1).scalar_subquery()
    grown = select(datasets.c.grown).where(it).limit(1).scalar_subquery()
    return (dataset_items.c.dataset == root) & _there(grown)


def _there(grown: ColumnElement[int]) -> ColumnElement[bool]:
    """What holds for items of a root that are there when it has grown so far."""
    until = dataset_items.c.until
    return (dataset_items.c.since <= grown) & (until.is_(None) | (until > grown))


def _count(connection: Connection, digest: str | None, ids: Sequence[str]) -> int:
    """How many of these items a dataset has."""
    found = 0
    for start in range(0, len(ids), INSERT_ROWS):
        mine = _of(digest or "") & dataset_items.c.id.in_(ids[start:][:INSERT_ROWS])
        found += connection.execute(select(func.count()).select_from(dataset_items).where(mine)).scalar_one()
    return found


def _end(connection: Connection, root: str, ids: Sequence[str], *, at: int) -> None:
    """Let items of a root be there no more once it has grown so far; of one that begins with this they go."""
    for start in range(0, len(ids), INSERT_ROWS):
        named = dataset_items.c.id.in_(ids[start:][:INSERT_ROWS])
        mine = (dataset_items.c.dataset == root) & dataset_items.c.until.is_(None) & named
        connection.execute(
            update(dataset_items).where(mine).values(until=at) if at else delete(dataset_items).where(mine)
        )


def _put_again(connection: Connection, dataset: DatasetRow) -> tuple[bool, bool]:
    """Where this content is there, make it the newest of the name; whether it is new under it, and whether it
    was there. It gets no item back that was erased."""
    same = datasets.c.digest == dataset.digest
    known = {row.name: row for row in connection.execute(select(datasets).where(same))}
    at = _newest(connection, dataset).isoformat()
    if dataset.name in known:
        mine = same & (datasets.c.name == dataset.name)
        connection.execute(update(datasets).where(mine).values(created_at=at))
        return False, True
    for row in known.values():
        place = {"root": row.root, "grown": row.grown, "created_at": at}
        connection.execute(insert(datasets).values(**_values(dataset) | place))
        return True, True
    return True, False


def _put(
    connection: Connection, dataset: DatasetRow, items: Sequence[ItemRow], *, root: str, grown: int
) -> None:
    place = {"root": root, "grown": grown, "created_at": _newest(connection, dataset).isoformat()}
    connection.execute(insert(datasets).values(**_values(dataset) | place))
    for start in range(0, len(items), INSERT_ROWS):
        some = items[start:][:INSERT_ROWS]
        connection.execute(
            insert(dataset_items), [_values(item) | {"dataset": root, "since": grown} for item in some]
        )


def _read_with(digest: str) -> ColumnElement[bool]:
    """What holds for the readings of a dataset's holdout: of its own, and of those of every version that
    shares items with it."""
    root = select(datasets.c.root).where(datasets.c.digest == digest)
    versions = select(datasets.c.digest).where(datasets.c.root.in_(root))
    return (holdout_reads.c.dataset == digest) | holdout_reads.c.dataset.in_(versions)


def _copy(connection: Connection, digest: str, copied: str, root: str) -> None:
    """Put a dataset's items once more, under a root of its own, for the dataset that is made of `digest`: who
    has read the holdout of that one has read the holdout of this."""
    who = [holdout_reads.c.at, holdout_reads.c.who, holdout_reads.c.why]
    read = select(literal(copied), *who).where(_read_with(digest)).order_by(holdout_reads.c.number)
    connection.execute(insert(holdout_reads).from_select(["dataset", "at", "who", "why"], read))
    kept = [column for column in dataset_items.c if column.name not in ("dataset", "since", "until")]
    rows = select(literal(root), literal(0), *kept).where(_of(digest))
    names = ["dataset", "since", *(column.name for column in kept)]
    connection.execute(insert(dataset_items).from_select(names, rows))


def _newest(connection: Connection, dataset: DatasetRow) -> datetime:
    """When it is kept, and later than all others of its name, whatever the clock says: the newest counts."""
    others = (datasets.c.name == dataset.name) & (datasets.c.digest != dataset.digest)
    last = connection.execute(select(func.max(datasets.c.created_at)).where(others)).scalar()
    if last is None:
        return dataset.created_at
    return max(dataset.created_at, datetime.fromisoformat(last) + timedelta(microseconds=1))


def _items(connection: Connection, digest: str, part: AnyPart) -> tuple[ItemRow, ...]:
    rows = connection.execute(
        select(dataset_items).where(_of(digest) & (dataset_items.c.part == part)).order_by(dataset_items.c.id)
    )
    return tuple(_read(row, ItemRow) for row in rows)


def _values(row: msgspec.Struct) -> dict[str, Any]:
    """A row's columns; times as text."""
    values = msgspec.structs.asdict(row)
    return {key: each.isoformat() if isinstance(each, datetime) else each for key, each in values.items()}


def _read(row: Row[Any], kind: type[T]) -> T:
    """A row of the table as its type, which has some of the table's columns."""
    # SQLAlchemy's names are a kind of str, and msgspec takes only str itself.
    return msgspec.convert({str(name): value for name, value in row._mapping.items()}, kind)
