-- DuckDB's own: those of these records that sums tell of and that are somebody's.
select *
from records
where seq in (select unnest($seqs::bigint[])) and seq < $summed and ({named})
