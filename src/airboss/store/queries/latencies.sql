-- DuckDB's own: as latencies_of_sums.sql, from the records.
select {groups}, latency_ms
from records
where status = 'ok' and started_at >= $since and started_at < $until and {without} and {where}
