-- DuckDB's own: how many parts the bodies have of records from $first to $last.
select seq, count(*)
from bodies
where seq between $first and $last
group by seq
order by seq
