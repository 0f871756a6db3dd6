-- Quantiles are exact, interpolated between the two nearest calls.
select
    deployment,
    count() as requests,
    countIf(status = 'error') as errors,
    countIf(status = 'cancelled') as cancelled,
    countIf(status = 'refused') as refused,
    quantileExactInclusiveIf(0.5)(latency_ms, status = 'ok') as latency_p50_ms,
    quantileExactInclusiveIf(0.95)(latency_ms, status = 'ok') as latency_p95_ms,
    quantileExactInclusiveIf(0.5)(ttft_ms, status = 'ok') as ttft_p50_ms,
    quantileExactInclusiveIf(0.95)(ttft_ms, status = 'ok') as ttft_p95_ms,
    avgOrNullIf(
        output_tokens / (latency_ms - if(stream, ifNull(ttft_ms, 0), 0)) * 1000,
        status = 'ok' and ifNull(records.output_tokens, 0) > 0
            and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1
    ) as tokens_per_s,
    sum(ifNull(input_tokens, 0)) as input_tokens,
    sum(ifNull(output_tokens, 0)) as output_tokens,
    toFloat64(sumOrNull(cost_usd)) as cost_usd,
    countIf(cost_usd is null) as cost_unknown
from records
where started_at >= $since and started_at < $until and ($without is null or "key" != $without)
group by deployment
order by deployment
