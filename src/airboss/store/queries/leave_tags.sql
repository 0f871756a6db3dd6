-- DuckDB's own: the sums that some records are in, which are made anew.
delete from tag_sums as sums
using (
    select distinct date_trunc('day', started_at) as start, {apart}
    from (
{gone}
    )
) as gone
where sums.start = gone.start and {same}
