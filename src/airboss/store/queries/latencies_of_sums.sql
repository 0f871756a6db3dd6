-- DuckDB's own: how long answered calls took, by group, from the sums of people (people.sql) that have a slow one.
select {groups}, unnest(latencies) as latency_ms
from (
{people}
)
where latencies[1] > $bars[1] and {without} and {where}
