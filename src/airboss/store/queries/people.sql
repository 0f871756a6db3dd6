-- DuckDB's own: the calls of a period by person, from the sums of its whole days and the records that are in none.
select {columns}, {numbers}
from {table}
where start >= $days and start < $days_end
{found}
union all
select {columns}, {numbers}
from (
{calls}
)
