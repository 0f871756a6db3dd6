-- Parts in any order: putting them together here would need DuckDB's memory for each body several times over.
-- The range lets whole row groups be skipped, which the list alone does not.
select seq, part, request, response
from bodies
where seq between $first and $last and seq in (select unnest($seqs::bigint[]))
