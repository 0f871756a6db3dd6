select id
from waiting_calls final
where done = 0 and startsWith(record, $said)
order by moved_at, id
limit $limit
