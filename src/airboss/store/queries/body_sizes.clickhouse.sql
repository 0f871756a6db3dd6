-- ClickHouse's own: DuckDB counts parts (body_parts.sql).
select id, length(request) + length(response)
from bodies
where started_at between $since and $until and id between $first and $last and id in $ids
