-- DuckDB's own: ClickHouse looks for the calls of all spans that it blanks.
-- Calls of a person's traces that are no records yet.
select id, trace_id, moved_at
from waiting_calls
where
    part = 0
    and id in (
        select id
        from spans
        where
            started_at <= $before
            and trace_id in (select trace_id from spans where "user" = $user and started_at <= $before)
    )
