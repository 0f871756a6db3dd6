-- DuckDB's own: long texts are kept in parts there.
select id, part, record
from waiting_calls
where id in (select unnest($ids::varchar[]))
