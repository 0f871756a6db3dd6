-- DuckDB's own: sums by the day and the person of some records. ClickHouse reads its records, column by column.
insert into {table}
select
    date_trunc('day', started_at) as start,
    {columns},
    count(*),
    count(*) filter (status = 'error'),
    coalesce(sum(output_tokens), 0),
    sum(cost_usd),
    max(started_at)
from {records}
group by all
order by all
