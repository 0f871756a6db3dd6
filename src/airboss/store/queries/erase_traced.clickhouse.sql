-- ClickHouse's own: DuckDB erases bodies and rows apart.
-- The spans of a person's traces.
select id
from spans
where
    started_at <= $before
    and trace_id in (
        select trace_id
        from spans
        where "user" = $user and started_at <= $before
    )
