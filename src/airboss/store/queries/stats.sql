-- Quantiles are exact (quantile_cont), interpolated between the two nearest calls; those of one column are taken
-- together, which sorts it once.
with used as (
    select
        deployment,
        count(*) as requests,
        count(*) filter (status = 'error') as errors,
        count(*) filter (status = 'cancelled') as cancelled,
        count(*) filter (status = 'refused') as refused,
        quantile_cont(latency_ms, [0.5, 0.95]) filter (status = 'ok') as latencies,
        quantile_cont(ttft_ms, [0.5, 0.95]) filter (status = 'ok') as ttfts,
        avg(output_tokens / writing_ms * 1000) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1) as tokens_per_s,
        coalesce(sum(input_tokens), 0)::bigint as input_tokens,
        coalesce(sum(output_tokens), 0)::bigint as output_tokens,
        sum(cost_usd)::double as cost_usd,
        count(*) - count(cost_usd) as cost_unknown
    from (select *, if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms from records)
    where started_at >= $since and started_at < $until and ($without is null or "key" <> $without)
    group by deployment
)
select
    * exclude (latencies, ttfts),
    latencies[1] as latency_p50_ms,
    latencies[2] as latency_p95_ms,
    ttfts[1] as ttft_p50_ms,
    ttfts[2] as ttft_p95_ms
from used
order by deployment
