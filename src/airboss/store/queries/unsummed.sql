-- DuckDB's own: the records of a period that people.sql has in no sum.
select * from records where started_at >= $since and started_at < $days
union all
select * from records where started_at >= $days_end and started_at < $until
union all
select * from records where seq >= ${table} and started_at >= $days and started_at < $days_end
