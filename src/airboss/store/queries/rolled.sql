-- DuckDB's own: what stats.sql, series.sql, traffic.sql and usage.sql tell of many calls, from the sums that are
-- there (rollups or tag_sums) and the records that are in none. Quantiles are of histograms, within 2 %. Every state
-- is of a fixed size, so that what does not fit into memory goes to disk.
with scanned as not materialized (
    select
        {groups},
        {step_of_record} as start,
        status, input_tokens, output_tokens, cost_usd, latency_ms, ttft_ms, started_at, "user", session,
        if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from (
        select * from records where started_at >= $since and started_at < $minutes
        union all
        select * from records where started_at >= $minutes_end and started_at < $until
        union all
        select * from records
        where seq >= $rolled and started_at >= $minutes and started_at < $minutes_end
    )
    where ($without is null or "key" <> $without) and {where}
),
summed as materialized (
    select *, hash({keys}, start) as place
    from (
        select
            {groups_of_sums},
            {step_of_sums} as start,
            status, requests, input_tokens, output_tokens, cost_usd, priced, rates, rated, started, first_at, last_at
            {histograms}
        from (
{sums}
        )
        where ($without is null or "key" <> $without) and {where_of_sums}
    )
),
both_ as (
    select
        {keys}, start, status, requests, input_tokens, output_tokens, cost_usd, priced, rates, rated, started,
        first_at, last_at, 0 as slow, 0 as late, 0 as costly
    from summed
    union all
    select {names}, start, status, counted.* exclude ({keys}, start, status)
    from (
        select
            {keys},
            start,
            status,
            count(*) as requests,
            coalesce(sum(input_tokens), 0) as input_tokens,
            coalesce(sum(output_tokens), 0) as output_tokens,
            sum(cost_usd) as cost_usd,
            count(cost_usd) as priced,
            coalesce(sum(output_tokens / writing_ms * 1000) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1), 0) as rates,
            count(output_tokens) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1) as rated,
            count(ttft_ms) as started,
            min(started_at) as first_at,
            max(started_at) as last_at,
            {slow} as slow,
            {late} as late,
            {costly} as costly
        from scanned
        group by all
    ) as counted
),
counts as (
    select
        {keys},
        start,
        hash({keys}, start) as place,
        sum(requests)::bigint as requests,
        coalesce(sum(requests) filter (status = 'error'), 0)::bigint as errors,
        coalesce(sum(requests) filter (status = 'cancelled'), 0)::bigint as cancelled,
        coalesce(sum(requests) filter (status = 'refused'), 0)::bigint as refused,
        coalesce(sum(requests) filter (status not in ('cancelled', 'refused')), 0)::bigint as counted,
        coalesce(sum(requests) filter (status = 'ok'), 0)::bigint as answered,
        sum(rates) / nullif(sum(rated), 0) as tokens_per_s,
        sum(input_tokens)::bigint as input_tokens,
        sum(output_tokens)::bigint as output_tokens,
        sum(cost_usd)::double as cost_usd,
        (sum(requests) - sum(priced))::bigint as cost_unknown,
        min(first_at) as first_at,
        max(last_at) as last_at,
        coalesce(sum(slow) filter (status = 'ok'), 0)::bigint as slow,
        coalesce(sum(late) filter (status = 'ok'), 0)::bigint as late,
        coalesce(sum(costly) filter (status = 'ok'), 0)::bigint as costly,
        coalesce(sum(priced) filter (status = 'ok'), 0)::bigint as priced,
        coalesce(sum(started) filter (status = 'ok'), 0)::bigint as started
    from both_
    group by all
),
bins as (
{bins}
),
heaps as (
    -- As doubles: decimals of 38 digits were nine tenths of what quantiles cost. By 64 bits of hash of a group: its columns
    -- were half of the rest.
    select place, of_what, bin, sum(n)::double as n from bins group by all
),
places as (
    select
        *,
        sum(n) over (partition by place, of_what order by bin) as upto,
        sum(n) over (partition by place, of_what) as total
    from heaps
),
quantiles as (
    select place{quantiles} from (select place{near} from places group by all)
),
users as (
{users}
),
sessions as (
{sessions}
)
select
    counts.* exclude (place),
    {told}
    coalesce(users, 0) as users,
    coalesce(sessions, 0) as sessions
from counts
left join quantiles using (place)
left join users using (place)
left join sessions using (place)
order by {order}
limit $limit
