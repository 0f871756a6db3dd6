-- The spans of these traces, as trace.sql; ids tell when a span began.
select id, span_id, parent_id, gateway, name, kind, service, started_at, duration_ms, status, "key", trace_id
from spans
where id >= $first and trace_id in $traces
limit $limit
