-- DuckDB's own: what else is in the sums that these records are in.
select sums.*
from (
{summed}
) as sums
semi join (
    select distinct date_trunc('day', started_at) as day, {apart}
    from (
{gone}
    )
) as gone
on date_trunc('day', sums.started_at) = gone.day and {same}
where sums.seq not in (select unnest($seqs::bigint[]))
