-- The calls of a period by person, from the sums of its whole days and the records at its ends.
select {columns}, requests, errors, output_tokens, cost_usd, last_at
from {table}
where start >= $days and start < $days_end
union all
select
    {columns},
    toUInt64(1) as requests,
    toUInt64(status = 'error') as errors,
    toInt64(ifNull(records.output_tokens, 0)) as output_tokens,
    cast(records.cost_usd as Nullable(Decimal(38, 12))) as cost_usd,
    started_at as last_at
from records
where (started_at >= $since and started_at < $days) or (started_at >= $days_end and started_at < $until)
