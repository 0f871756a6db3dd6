-- DuckDB's own: how long the slowest call took of the last of {rows} sums, those with the slowest.
select list_last(max(latencies[1], {rows}))
from (
{people}
)
where {without} and {where}
