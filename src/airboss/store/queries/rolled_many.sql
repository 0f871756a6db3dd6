-- DuckDB's own: whether there are many calls, and whether their keys can be told apart.
select coalesce(sum(requests), 0)::bigint, count(*) filter ("key" is null)
from rollups
where width = 60 and start >= $minutes and start < $minutes_end
