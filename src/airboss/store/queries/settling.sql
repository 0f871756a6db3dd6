-- Model calls, and messages of such, that wait long enough, the oldest first.
select id, trace_id, starts_with(record, $said)
from waiting_calls
where part = 0 and moved_at < $before
order by moved_at, id
limit $limit
