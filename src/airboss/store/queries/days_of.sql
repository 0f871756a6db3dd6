-- DuckDB's own: the midnights before the first and the last of a stretch of records.
select date_trunc('day', min(started_at)), date_trunc('day', max(started_at))
from records
where seq >= $first and seq < $last
