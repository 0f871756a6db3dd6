-- DuckDB's own: the sums by person of a period's whole days.
select {columns}, {numbers}
from {table}
where start >= $days and start < $days_end
{found}
