-- DuckDB's own: above which latencies some of the slowest calls are, about, of a sample of all calls: of some blocks, or,
-- where calls are few, of some of all blocks, as a sample of blocks passes none over for its time.
select quantile_disc(latency_ms, {shares})
from records {sample}
where
    status = 'ok' and started_at >= $since and started_at < $until and hash(seq) % {every} = 0
    and {without} and {where}
