select seq, count(*)
from bodies
where seq between $first and $last and seq in (select unnest($seqs::bigint[]))
group by seq
