"""Adds to a dataset until it is killed: `python -m tests.evaluations.growing DATA_DIR NAME`."""

from __future__ import annotations

import sys
from contextlib import closing
from itertools import count
from pathlib import Path

from airboss.compose.stores import open_audit
from airboss.evaluations.datasets import Shares
from airboss.evaluations.library import Library
from airboss.store.datadir import DataDir
from airboss.store.evals import SqlEvalStore
from airboss.store.ledger import SqlLedger
from tests.evaluations.support import item, now


def work(folder: str, who: str) -> None:
    """Add one item after another, each with its leaf, as the admin API does."""
    data = DataDir(Path(folder))
    with (
        open_audit(data) as audit,
        closing(SqlLedger(data.ledger_url)) as ledger,
        closing(SqlEvalStore(data.ledger_url)) as store,
    ):
        library = Library(store, now)
        for number in count():
            more = [item(f"{who}-{number}", f"{who} {number}?")]
            while True:
                joined = library.join("n", more, fresh=Shares())
                with ledger.together():
                    grown = library.grow(joined)
                    if grown is not None:
                        detail = {"digest": grown.dataset.digest}
                        audit.append("dataset.add", actor=who, subject="n", detail=detail, at=now())
                        break
            sys.stdout.write(f"{who}-{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
