-- DuckDB's own: parts of bodies of records from $first to $last, in any order; the first ones tell what is sealed.
select seq, part, request, response
from bodies
where seq between $first and $last and (part = 0 or part between $from and $to)
