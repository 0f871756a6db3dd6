-- DuckDB's own: ClickHouse erases by mutations, which `clickhouse_erase` writes.
-- A person is in all of a trace that names them: what tools were given names nobody.
update spans
set
    "user" = null, session = null, message = null, attributes = null, events = null,
    name = case when gateway then name else kind end -- apps write what they like into names, people too
where
    started_at <= $before
    and trace_id in (select trace_id from spans where "user" = $user and started_at <= $before)
