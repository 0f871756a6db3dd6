-- DuckDB's own: the calls of a period by person, from the sums of its whole days and the records that are in none.
{sums}
union all
select {columns}, {numbers}
from (
{calls}
)
