-- DuckDB's own: as people.sql, of the records alone.
select *, 1 as requests, (status = 'error')::bigint as errors, started_at as last_at
from records
where started_at >= $since and started_at < $until
