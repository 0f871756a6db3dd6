"""What an unmodified clickhouse-connect does with the front; run by the environment that has it.

Usage: clickhouse_client.py PORT. Prints what it found, as JSON.
"""

from __future__ import annotations

import json
import sys

import clickhouse_connect  # type: ignore[import-not-found]  # the other environment's

client = clickhouse_connect.get_client(host="127.0.0.1", port=int(sys.argv[1]))
client.command("create database if not exists spoken")
client.command("drop table if exists spoken.t")
client.command(
    "create table spoken.t (n Int64, s String) engine = MergeTree order by n"
    " settings non_replicated_deduplication_window = 10"
)
ROWS = [[1, "x"], [2, "y'\n\0\\"]]
for _ in range(2):
    client.insert("spoken.t", ROWS, column_names=["n", "s"], settings={"insert_deduplication_token": "once"})
found = client.query("select n, s from spoken.t where n >= {n:Int64} order by n", parameters={"n": 2})
failed = None
try:
    client.query("select nothing from nowhere")
except clickhouse_connect.driver.exceptions.DatabaseError as error:
    failed = "code: 60" in str(error)
sys.stdout.write(
    json.dumps(
        {
            "version": client.server_version,
            "count": client.command("select count() from spoken.t"),
            "rows": found.result_rows,
            "failed": failed,
        }
    )
)
