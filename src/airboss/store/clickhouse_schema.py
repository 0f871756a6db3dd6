"""The schema of the record log on ClickHouse, brought forward."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources

from airboss.config.clickhouse import Server
from airboss.domain.errors import SetupError
from airboss.store import clickhouse_people, clickhouse_rollups
from airboss.store.clickhouse_http import COMMENT, ClickHouse, on_cluster, stamp
from airboss.store.clickhouse_search import WORDS


def migrate(house: ClickHouse) -> None:
    """Bring the schema forward, one numbered file at a time; never back. Every statement of a file may be run
    again, so one that was killed half way is. Raises SetupError where a newer Airboss wrote."""
    house.create_database()
    folder = resources.files("airboss.store") / "schema" / "clickhouse"
    files = {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
    for statement in statements(files["000_migrations.sql"], house.server):
        house.run(statement)
    ((done,),) = house.rows("select max(number) from schema_migrations")
    last = max(int(name[:3]) for name in files)
    if done > last:
        raise SetupError(
            f"ClickHouse at {house.server.url} has schema {done}, this Airboss knows up to {last}: install "
            "the one that wrote it"
        )
    for name in sorted(files):
        number = int(name[:3])
        if number > done:
            for statement in statements(files[name], house.server):
                house.run(statement, hard=True, once=True)
            row = (number, name, stamp(datetime.now(UTC)))
            house.insert("schema_migrations", ("number", "name", "applied_at"), [row], f"schema:{number}")


def statements(text: str, server: Server) -> list[str]:
    """The statements of a schema file for this server: whether tables are made on a cluster and replicated,
    and what then bounds how many inserts are remembered by their tokens."""
    replicated = server.cluster is not None
    clauses = {
        "cluster": on_cluster(server),
        "replicated": "Replicated" if replicated else "",
        "words": WORDS,
        "roll_up": clickhouse_rollups.roll_up(),
        "sum_users": clickhouse_people.summed(clickhouse_people.USERS),
        "sum_sessions": clickhouse_people.summed(clickhouse_people.SESSIONS),
        "window": "replicated_deduplication_window" if replicated else "non_replicated_deduplication_window",
    }
    whole = COMMENT.sub("", text)
    for name, clause in clauses.items():
        whole = whole.replace(f"{{{name}}}", clause)
    return [statement.strip() for statement in whole.split(";\n") if statement.strip()]
