-- DuckDB's own: what else the people of these records did on the same days; sums tell of it.
select records.*
from records
semi join (
    select distinct date_trunc('day', started_at) as day, {people}
    from (
{gone}
    )
) as gone
on date_trunc('day', records.started_at) = gone.day and {same}
where records.seq < $summed and records.seq not in (select unnest($seqs::bigint[]))
