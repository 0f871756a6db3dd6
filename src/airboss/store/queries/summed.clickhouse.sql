-- ClickHouse's own: what stats, series, traffic and usage tell of many calls, from the sums that are there
-- (rollups or tag_sums) and the records that are in none of them. Quantiles are of histograms, within 2 %.
with counts as (
    select
        {keys},
        start,
        sum(requests) as requests,
        sumIf(requests, status = 'error') as errors,
        sumIf(requests, status = 'cancelled') as cancelled,
        sumIf(requests, status = 'refused') as refused,
        sumIf(requests, status not in ('cancelled', 'refused')) as counted,
        sumIf(requests, status = 'ok') as answered,
        sum(rates) / nullIf(sum(rated), 0) as tokens_per_s,
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        toFloat64(sumOrNull(cost_usd)) as cost_usd,
        sum(requests) - sum(priced) as cost_unknown,
        min(first_at) as first_at,
        max(last_at) as last_at,
        sumIf(slow, status = 'ok') as slow,
        sumIf(late, status = 'ok') as late,
        sumIf(costly, status = 'ok') as costly,
        sumIf(priced, status = 'ok') as priced,
        sumIf(started, status = 'ok') as started
        {merged}
    from (
        select
            {groups_of_sums},
            {step_of_sums} as start,
            status,
            requests,
            input_tokens,
            output_tokens,
            cost_usd,
            priced,
            rates,
            rated,
            started,
            first_at,
            last_at,
            0 as slow,
            0 as late,
            0 as costly,
            {latency_of_sums} as latency,
            {ttft_of_sums} as ttft,
            {cost_of_sums} as cost
        from {sums} as sums
        where {where_of_sums} and ($without is null or "key" != $without) and ({in_sums})
        union all
        select {names}, * except ({raw_keys})
        from (
            select
                {raw},
                {step_of_record} as start,
                status,
                count() as requests,
                sum(ifNull(records.input_tokens, 0)) as input_tokens,
                sum(ifNull(records.output_tokens, 0)) as output_tokens,
                cast(sumOrNull(records.cost_usd) as Nullable(Decimal(38, 12))) as cost_usd,
                count(records.cost_usd) as priced,
                sumIf(
                    ifNull(records.output_tokens, 0) / (latency_ms - if(stream, ifNull(ttft_ms, 0), 0)) * 1000,
                    status = 'ok' and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1
                ) as rates,
                countIf(
                    ifNull(records.output_tokens, 0) > 0
                    and status = 'ok' and latency_ms - if(stream, ifNull(ttft_ms, 0), 0) >= 1
                ) as rated,
                count(ttft_ms) as started,
                min(started_at) as first_at,
                max(started_at) as last_at,
                countIf(latency_ms > $slow_ms) as slow,
                countIf(ttft_ms > $late_ms) as late,
                countIf(records.cost_usd > $costly_usd) as costly,
                {latency} as latency,
                {ttft} as ttft,
                {cost} as cost
            from records
            where {where} and ($without is null or "key" != $without) and ({in_records})
            group by {raw_keys}, start, status
        )
    )
    group by {keys}, start
),
people as (
{counted_people}
)
select
    {keys_of_counts},
    counts.start as start,
    requests,
    errors,
    cancelled,
    refused,
    counted,
    answered,
    tokens_per_s,
    input_tokens,
    output_tokens,
    cost_usd,
    cost_unknown,
    first_at,
    last_at,
    slow,
    late,
    costly,
    priced,
    started,
    {quantiles},
    {people}
from counts {joined}
order by {order}
limit $limit
