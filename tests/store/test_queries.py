"""The named queries, in both dialects."""

from __future__ import annotations

import re
from pathlib import Path

from airboss import store

QUERIES = Path(store.__file__).parent / "queries"
CLICKHOUSE = ".clickhouse"
OF_PARTS = {"body_parts", "opened_parts"}
"""Asked of DuckDB alone, which keeps long texts in parts."""
OF_ERASURE = {"erase_bodies", "erase_user"}
"""Asked of DuckDB alone; ClickHouse erases by mutations, which `clickhouse_erase` writes."""


def test_every_query_stands_in_both_dialects() -> None:
    """One that is of one dialect alone says so in its first line, or is listed here with the reason."""
    names = {path.name.removesuffix(".sql") for path in QUERIES.glob("*.sql")}
    duckdb = {name for name in names if not name.endswith(CLICKHOUSE)}
    clickhouse = {name.removesuffix(CLICKHOUSE) for name in names - duckdb}
    own = {
        name
        for name in duckdb - clickhouse
        if (QUERIES / f"{name}.sql").read_text().startswith("-- DuckDB's own: ")
    }
    assert duckdb - clickhouse == OF_PARTS | OF_ERASURE | own
    own = {
        name
        for name in clickhouse - duckdb
        if (QUERIES / f"{name}{CLICKHOUSE}.sql").read_text().startswith("-- ClickHouse's own: ")
    }
    assert clickhouse - duckdb == own


def test_both_dialects_are_asked_with_the_same_parameters() -> None:
    """What DuckDB is given ClickHouse is given too; that one may need more to find a row without a key."""
    for path in QUERIES.glob(f"*{CLICKHOUSE}.sql"):
        twin = QUERIES / path.name.replace(CLICKHOUSE, "")
        if twin.exists():
            parameters = [set(re.findall(r"\$[a-z_]+", each.read_text())) for each in (twin, path)]
            missing = parameters[0] - parameters[1] - {"$seqs", "$first", "$last"}
            if twin.stem == "settling":  # there it is one move's, which has a bound
                missing.discard("$limit")
            assert not missing, f"{path.name} lacks {missing}"
