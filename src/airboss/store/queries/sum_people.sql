-- DuckDB's own: sums by the day and the person of some records. ClickHouse reads its records, column by column.
select date_trunc('day', started_at) as start, {columns}, {numbers}, {lists}
from (
{calls}
)
group by all
order by {people}, start
