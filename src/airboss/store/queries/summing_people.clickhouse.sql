-- ClickHouse's own: the sums by the day and the person of an insert into records, or of some of them.
select
    toDateTime(toStartOfDay(started_at), 'UTC') as start,
    {columns},
    {numbers}
from {records}
group by start, {columns}
