"""Datasets, paid answers and evaluation results in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from airboss.store.eval_rows import (
    AnyPart,
    DatasetRow,
    HoldoutRead,
    ItemRow,
    OpenPart,
    ResultRow,
    RunRow,
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
)

INSERT_ROWS: Final = 1_000

T = TypeVar("T", bound=msgspec.Struct)


class SqlEvalStore(LedgerPart):
    """`evaluations.ports.EvalStore`. Safe to use by threads, and by several processes on one database.

    Every write is on disk when its call returns: what was paid for is not paid for again. All calls raise
    SetupError if the database cannot be used.
    """

    def put_dataset(self, dataset: DatasetRow, items: Sequence[ItemRow]) -> bool:
        """As `EvalStore.put_dataset`."""
        with self._write() as connection:
            same = datasets.c.digest == dataset.digest
            known = connection.execute(select(datasets.c.name).where(same)).scalars().all()
            if dataset.name in known:
                # Put again it is the newest of its name again, and holds no item that was erased.
                mine = same & (datasets.c.name == dataset.name)
                connection.execute(
                    update(datasets).where(mine).values(created_at=dataset.created_at.isoformat())
                )
                return False
            connection.execute(insert(datasets).values(**_values(dataset)))
            if known:
                return True
            for start in range(0, len(items), INSERT_ROWS):
                rows = [_values(item) | {"dataset": dataset.digest} for item in items[start:][:INSERT_ROWS]]
                connection.execute(insert(dataset_items), rows)
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

    def open_holdout(self, read: HoldoutRead) -> tuple[int, tuple[ItemRow, ...]]:
        """As `EvalStore.open_holdout`."""
        with self._write() as connection:
            before = connection.execute(
                select(func.count()).select_from(holdout_reads).where(holdout_reads.c.dataset == read.dataset)
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
                select(func.count()).select_from(holdout_reads).where(of & (holdout_reads.c.number < read))
            ).scalar_one()
            return before, _items(connection, digest, "holdout")

    def holdout_reads(self, digest: str) -> tuple[HoldoutRead, ...]:
        """As `EvalStore.holdout_reads`."""
        with self._read() as connection:
            rows = connection.execute(
                select(holdout_reads)
                .where(holdout_reads.c.dataset == digest)
                .order_by(holdout_reads.c.number)
            )
            return tuple(_read(row, HoldoutRead) for row in rows)

    def part_sizes(self, digest: str) -> dict[str, int]:
        """As `EvalStore.part_sizes`."""
        with self._read() as connection:
            rows = connection.execute(
                select(dataset_items.c.part, func.count().label("size"))
                .where(dataset_items.c.dataset == digest)
                .group_by(dataset_items.c.part)
            )
            return {row.part: row.size for row in rows}

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
        self, key: str, *, subject: str, content: str, at: datetime, user: str | None = None
    ) -> None:
        """As `EvalStore.put_answer`."""
        with self._write() as connection:
            if user is not None and _forgotten(connection, subject, user):
                return
            known = connection.execute(select(eval_answers.c.key).where(eval_answers.c.key == key)).scalar()
            if known is None:
                row = {"key": key, "subject": subject, "content": content, "at": at.isoformat()}
                connection.execute(insert(eval_answers).values(**row))

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

    def runs(self, *, limit: int) -> tuple[RunRow, ...]:
        """As `EvalStore.runs`."""
        with self._read() as connection:
            rows = connection.execute(
                select(eval_runs).order_by(eval_runs.c.created_at.desc(), eval_runs.c.id.desc()).limit(limit)
            )
            return tuple(_read(row, RunRow) for row in rows)

    def put_result(self, result: ResultRow, *, user: str | None = None) -> None:
        """As `EvalStore.put_result`."""
        with self._write() as connection:
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
            orphaned = dataset_items.c.dataset.not_in(select(datasets.c.digest))
            gone = set(connection.execute(select(dataset_items.c.subject).where(orphaned)).scalars())
            connection.execute(delete(dataset_items).where(orphaned))
            gone -= set(connection.execute(select(dataset_items.c.subject)).scalars())
            left = sorted(gone)
            for start in range(0, len(left), INSERT_ROWS):
                some = left[start:][:INSERT_ROWS]
                for table in (eval_answers, eval_results):
                    connection.execute(delete(table).where(table.c.subject.in_(some)))
            return len(digests)

    def forget_user(self, user: str) -> int:
        """As `EvalStore.forget_user`."""
        with self._write() as connection:
            theirs = select(dataset_items.c.subject).where(dataset_items.c.user == user)
            for table in (eval_answers, eval_results):
                connection.execute(delete(table).where(table.c.subject.in_(theirs)))
            return connection.execute(delete(dataset_items).where(dataset_items.c.user == user)).rowcount


def _forgotten(connection: Connection, subject: str, user: str) -> bool:
    pending = select(erasures.c.id).where(erasures.c.user == user).limit(1)
    mine = (dataset_items.c.user == user) & (dataset_items.c.subject == subject)
    there = select(dataset_items.c.id).where(mine).limit(1)
    return connection.execute(pending).first() is not None or connection.execute(there).first() is None


def _items(connection: Connection, digest: str, part: AnyPart) -> tuple[ItemRow, ...]:
    rows = connection.execute(
        select(dataset_items)
        .where((dataset_items.c.dataset == digest) & (dataset_items.c.part == part))
        .order_by(dataset_items.c.id)
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
