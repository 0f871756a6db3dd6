-- DuckDB's own: ClickHouse erases by mutations, which `clickhouse_erase` writes.
-- The numbers and ids of the records in a person's traces, though the call itself names nobody.
select seq, id
from records
where
    started_at <= $before
    and id in (
        select id
        from spans
        where trace_id in (select trace_id from spans where "user" = $user and started_at <= $before)
    )
