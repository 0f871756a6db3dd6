-- DuckDB's own: the calls of a period by person, from the sums of its whole days and the records that are in none.
select {columns}, requests, errors, output_tokens, cost_usd, last_at
from {table}
where start >= $days and start < $days_end
union all
select {columns}, 1, (status = 'error')::bigint, output_tokens, cost_usd, started_at
from (
    select * from records where started_at >= $since and started_at < $days
    union all
    select * from records where started_at >= $days_end and started_at < $until
    union all
    select * from records where seq >= ${table} and started_at >= $days and started_at < $days_end
)
