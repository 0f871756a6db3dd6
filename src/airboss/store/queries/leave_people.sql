-- DuckDB's own: the sums of these people's days, which are made anew.
delete from {table} as sums
using (select distinct date_trunc('day', started_at) as start, {people} from {records}) as gone
where sums.start = gone.start and {same}
