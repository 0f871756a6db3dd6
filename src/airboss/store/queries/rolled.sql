-- DuckDB's own: what stats.sql, series.sql and traffic.sql tell, by {groups} and in steps, from the sums that
-- are there (rollups.sql) and the records that are in none. Quantiles are of histograms, within 2 %.
with scanned as materialized (
    select
        {groups},
        {step_of_record} as start,
        status, input_tokens, output_tokens, cost_usd, latency_ms, ttft_ms,
        if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from (
        select * from records where started_at >= $since and started_at < $minutes
        union all
        select * from records where started_at >= $minutes_end and started_at < $until
        union all
        select * from records
        where seq >= $rolled and started_at >= $minutes and started_at < $minutes_end
    )
    where $without is null or "key" <> $without
),
summed as materialized (
    select {groups}, {step_of_rollup} as start, * exclude (deployment, release, arm, start)
    from (
        select * from rollups where width = 3600 and start >= $hours and start < $hours_end
        union all
        select * from rollups where width = 60 and start >= $minutes and start < $hours
        union all
        select * from rollups where width = 60 and start >= $hours_end and start < $minutes_end
    )
    where $without is null or "key" <> $without
),
both_ as (
    select
        {groups}, start, status, requests, input_tokens, output_tokens, cost_usd, priced, rates, rated
    from summed
    union all
    select
        {groups},
        start,
        status,
        count(*),
        coalesce(sum(input_tokens), 0),
        coalesce(sum(output_tokens), 0),
        sum(cost_usd),
        count(cost_usd),
        coalesce(sum(output_tokens / writing_ms * 1000) filter (status = 'ok' and writing_ms > 0), 0),
        count(output_tokens) filter (status = 'ok' and writing_ms > 0)
    from scanned
    group by all
),
counts as (
    select
        {groups},
        start,
        sum(requests)::bigint as requests,
        coalesce(sum(requests) filter (status = 'error'), 0)::bigint as errors,
        coalesce(sum(requests) filter (status = 'cancelled'), 0)::bigint as cancelled,
        coalesce(sum(requests) filter (status = 'refused'), 0)::bigint as refused,
        coalesce(sum(requests) filter (status not in ('cancelled', 'refused')), 0)::bigint as counted,
        sum(rates) / nullif(sum(rated), 0) as tokens_per_s,
        sum(input_tokens)::bigint as input_tokens,
        sum(output_tokens)::bigint as output_tokens,
        sum(cost_usd)::double as cost_usd,
        (sum(requests) - sum(priced))::bigint as cost_unknown
    from both_
    group by all
),
bins as (
    select {groups}, start, true as of_latency, unnest(map_keys(latency)) as bin, unnest(map_values(latency)) as n
    from summed where {quantiles} and status = 'ok'
    union all
    select {groups}, start, false, unnest(map_keys(ttft)), unnest(map_values(ttft))
    from summed where {quantiles} and status = 'ok'
    union all
    select {groups}, start, true, {latency}, 1 from scanned where {quantiles} and status = 'ok'
    union all
    select {groups}, start, false, {ttft}, 1 from scanned where {quantiles} and status = 'ok' and ttft_ms is not null
),
histograms as (
    select {groups}, start, of_latency, bin, sum(n) as n from bins group by all
),
places as (
    select
        *,
        sum(n) over (partition by {groups}, start, of_latency order by bin) as upto,
        sum(n) over (partition by {groups}, start, of_latency) as total
    from histograms
),
quantiles as (
    select
        {groups},
        start,
        of_latency,
        {p50} as p50,
        {p95} as p95
    from places
    group by all
)
select
    counts.*,
    latencies.p50 as latency_p50_ms,
    latencies.p95 as latency_p95_ms,
    ttfts.p50 as ttft_p50_ms,
    ttfts.p95 as ttft_p95_ms
from counts
left join (from quantiles where of_latency) as latencies
    on {same_latencies} and latencies.start is not distinct from counts.start
left join (from quantiles where not of_latency) as ttfts
    on {same_ttfts} and ttfts.start is not distinct from counts.start
order by {groups_of_counts}, start
