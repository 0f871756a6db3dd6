-- The calls of a period by person, from the sums of its whole days and the records at its ends.
select {columns}, {names}
from {table}
where start >= $days and start < $days_end
union all
select {columns}, {calls}
from records
where (started_at >= $since and started_at < $days) or (started_at >= $days_end and started_at < $until)
