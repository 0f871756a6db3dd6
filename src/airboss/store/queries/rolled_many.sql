-- DuckDB's own: how many calls there are, and whether their models and keys can be told apart in the sums.
select
    coalesce(sum(requests), 0)::bigint
        + (select count(*) from records where seq >= $rolled and started_at >= $since and started_at < $until),
    count(*) filter ("key" is null)
from (
{sums}
)
