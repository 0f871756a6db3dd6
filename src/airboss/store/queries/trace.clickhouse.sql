-- What a tree needs of a trace's spans.
select id, span_id, parent_id, gateway, name, kind, service, started_at, duration_ms, status, "key"
from spans
where trace_id = $trace
order by started_at, id
limit $limit
