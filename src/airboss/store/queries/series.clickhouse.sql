-- As stats, in steps of $step_us microseconds since the epoch.
select
    deployment,
    fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro(started_at), $step_us) * $step_us, 'UTC') as start,
    count() as requests,
    countIf(status = 'error') as errors,
    countIf(status = 'cancelled') as cancelled,
    countIf(status = 'refused') as refused,
    quantileExactInclusiveIf(0.5)(latency_ms, status = 'ok') as latency_p50_ms,
    quantileExactInclusiveIf(0.95)(latency_ms, status = 'ok') as latency_p95_ms,
    quantileExactInclusiveIf(0.5)(ttft_ms, status = 'ok') as ttft_p50_ms,
    sum(ifNull(output_tokens, 0)) as output_tokens,
    toFloat64(sumOrNull(cost_usd)) as cost_usd
from records
where started_at >= $since and started_at < $until
group by deployment, start
order by deployment, start
