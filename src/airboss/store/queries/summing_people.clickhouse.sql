-- ClickHouse's own: the sums by the day and the person of an insert into records, or of some of them.
select
    toDateTime(toStartOfDay(started_at), 'UTC') as start,
    {columns},
    count() as requests,
    countIf(status = 'error') as errors,
    sum(ifNull(records.output_tokens, 0)) as output_tokens,
    cast(sumOrNull(records.cost_usd) as Nullable(Decimal(38, 12))) as cost_usd,
    max(started_at) as last_at
from {records}
group by start, {columns}
