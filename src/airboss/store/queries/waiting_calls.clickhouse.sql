-- ClickHouse's own: DuckDB has them in parts. Those of these calls that are no records yet.
select id, record
from waiting_calls final
where done = 0 and id in $ids
order by id
