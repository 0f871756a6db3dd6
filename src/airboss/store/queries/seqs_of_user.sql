-- DuckDB's own: the numbers of the records of a person that are to be blanked.
select seq
from records
where "user" = $user and started_at <= $before
