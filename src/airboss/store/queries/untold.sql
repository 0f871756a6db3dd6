-- DuckDB's own: how many tags sums of a period leave to the records, and how many of these among them.
select count(*), count(*) filter (name is null or name in (select unnest($tags::varchar[])))
from untold_tags
where since < $minutes_end and until >= $minutes
