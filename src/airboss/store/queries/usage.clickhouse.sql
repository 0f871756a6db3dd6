-- What calls used, by groups; steps as in series. Quantiles are exact, of answered calls; those of one column are
-- one function, whose values are kept once. People are counted by
-- 64 bits of hash, in half of the time: of ten million, two are taken for one in three of a million questions.
select
    {groups},
    {start} as start,
    count() as requests,
    countIf(status = 'error') as errors,
    countIf(status = 'cancelled') as cancelled,
    countIf(status = 'refused') as refused,
    countIf(status = 'ok') as answered,
    quantilesExactInclusiveIf(0.5, 0.95, 0.99)(latency_ms, status = 'ok')[1] as latency_p50_ms,
    quantilesExactInclusiveIf(0.5, 0.95, 0.99)(latency_ms, status = 'ok')[2] as latency_p95_ms,
    quantilesExactInclusiveIf(0.5, 0.95, 0.99)(latency_ms, status = 'ok')[3] as latency_p99_ms,
    quantilesExactInclusiveIf(0.5, 0.95)(ttft_ms, status = 'ok')[1] as ttft_p50_ms,
    quantilesExactInclusiveIf(0.5, 0.95)(ttft_ms, status = 'ok')[2] as ttft_p95_ms,
    avgOrNullIf(
        output_tokens / (latency_ms - if(stream, ifNull(ttft_ms, 0), 0)) * 1000,
        status = 'ok' and ifNull(records.output_tokens, 0) > 0
            and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1
    ) as tokens_per_s,
    sum(ifNull(input_tokens, 0)) as input_tokens,
    sum(ifNull(output_tokens, 0)) as output_tokens,
    toFloat64(sumOrNull(cost_usd)) as cost_usd,
    {cost} as cost_p95_usd,
    countIf(records.cost_usd is null) as cost_unknown,
    {users} as users,
    {sessions} as sessions,
    min(started_at) as first_at,
    max(started_at) as last_at,
    {slow} as slow,
    {late} as late,
    {costly} as costly,
    countIf(status = 'ok' and records.cost_usd is not null) as priced,
    countIf(status = 'ok' and ttft_ms is not null) as started
from records
where started_at >= $since and started_at < $until and ($without is null or "key" != $without)
    and {where}
{by}
having count() > 0
order by {order}
limit $limit
