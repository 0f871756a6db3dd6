-- Model calls that wait long enough, the oldest first.
select id, trace_id
from waiting_calls
where part = 0 and moved_at < $before
order by moved_at, id
limit $limit
