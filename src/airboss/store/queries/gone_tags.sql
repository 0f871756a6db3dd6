-- DuckDB's own: those of these records that sums of tags tell of.
select * from records where seq in (select unnest($seqs::bigint[])) and seq < $summed
