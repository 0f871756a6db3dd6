-- DuckDB's own: records as sums of people have them, each of one call.
select
    *,
    1 as requests,
    (status = 'error')::bigint as errors,
    (status = 'cancelled')::bigint as cancelled,
    (status = 'refused')::bigint as refused,
    (status = 'ok')::bigint as answered,
    (cost_usd is null)::bigint as cost_unknown,
    (status = 'ok' and cost_usd is not null)::bigint as priced,
    (status = 'ok' and ttft_ms is not null)::bigint as started,
    if(status = 'ok' and output_tokens > 0 and writing_ms >= 1, output_tokens / writing_ms * 1000, null) as rates,
    (rates is not null)::bigint as rated,
    started_at as first_at,
    started_at as last_at,
    if(status = 'ok', [latency_ms], null) as latencies,
    if(status = 'ok' and ttft_ms is not null, [ttft_ms], null) as ttfts
from (
    select *, if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from (
{records}
    )
)
