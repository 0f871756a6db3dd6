-- DuckDB's own: the midnight after the last of these records began.
select date_trunc('day', max(started_at)) + interval 1 day
from records
where seq >= $first and seq < $least
