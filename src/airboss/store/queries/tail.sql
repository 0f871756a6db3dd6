-- DuckDB's own: above which latencies some of the slowest calls are, about, of a sample of all calls, or of all where
-- they are few: a sample passes no block over for its time.
select quantile_disc(latency_ms, {shares})
from records {sample}
where status = 'ok' and started_at >= $since and started_at < $until and {without} and {where}
