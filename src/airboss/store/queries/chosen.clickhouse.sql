-- As usage, of the groups that come first, from the sums of people (people.clickhouse.sql).
select
    {groups},
    null as start,
    sum(requests) as requests,
    sum(errors) as errors,
    sum(cancelled) as cancelled,
    sum(refused) as refused,
    sum(answered) as answered,
    quantilesExactInclusiveArray(0.5, 0.95, 0.99)(latencies)[1] as latency_p50_ms,
    quantilesExactInclusiveArray(0.5, 0.95, 0.99)(latencies)[2] as latency_p95_ms,
    quantilesExactInclusiveArray(0.5, 0.95, 0.99)(latencies)[3] as latency_p99_ms,
    quantilesExactInclusiveArray(0.5, 0.95)(ttfts)[1] as ttft_p50_ms,
    quantilesExactInclusiveArray(0.5, 0.95)(ttfts)[2] as ttft_p95_ms,
    sum(rates) / nullIf(sum(rated), 0) as tokens_per_s,
    sum(input_tokens) as input_tokens,
    sum(output_tokens) as output_tokens,
    toFloat64(sumOrNull(cost_usd)) as cost_usd,
    null as cost_p95_usd,
    sum(cost_unknown) as cost_unknown,
    {users} as users,
    {sessions} as sessions,
    min(first_at) as first_at,
    max(last_at) as last_at,
    0 as slow,
    0 as late,
    0 as costly,
    sum(priced) as priced,
    sum(started) as started
from {people} as theirs
where ($without is null or "key" != $without) and {where}
group by {keys}
order by {order}
limit $limit
