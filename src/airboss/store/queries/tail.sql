-- DuckDB's own: above which latencies some of the slowest calls are, about, of a sample of all calls.
select quantile_disc(latency_ms, {shares})
from records tablesample system ({percent}%) repeatable (17)
where status = 'ok' and started_at >= $since and started_at < $until and {without} and {where}
