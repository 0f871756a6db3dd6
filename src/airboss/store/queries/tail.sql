-- DuckDB's own: above which latency some of the slowest calls are, about, of 512 calls of each 32,768.
select coalesce(quantile_disc(latency_ms, 0.95), -1)
from records
where seq & 32256 = 0 and status = 'ok' and started_at >= $since and started_at < $until and {without} and {where}
