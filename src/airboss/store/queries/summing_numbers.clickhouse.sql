-- ClickHouse's own: what calls are summed up to in rollups and in the sums of tags.
    count() as requests,
    sum(ifNull(records.input_tokens, 0)) as input_tokens,
    sum(ifNull(records.output_tokens, 0)) as output_tokens,
    cast(sumOrNull(records.cost_usd) as Nullable(Decimal(38, 12))) as cost_usd,
    count(records.cost_usd) as priced,
    sumIf(
        ifNull(records.output_tokens, 0) / (latency_ms - if(stream, ifNull(ttft_ms, 0), 0)) * 1000,
        status = 'ok' and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1
    ) as rates,
    countIf(ifNull(records.output_tokens, 0) > 0 and status = 'ok' and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1)
        as rated,
    countIf(status = 'ok' and ttft_ms is not null) as started,
    min(started_at) as first_at,
    max(started_at) as last_at,
    {latency} as latency,
    {ttft} as ttft,
    {cost} as cost
