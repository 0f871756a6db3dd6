-- DuckDB's own: ClickHouse erases by mutations, which `clickhouse_erase` writes.
update records
set "user" = null, session = null, tags = '{}'
where
    started_at <= $before
    and id in (
        select id
        from spans
        where trace_id in (select trace_id from spans where "user" = $user and started_at <= $before)
    )
