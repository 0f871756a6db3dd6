-- ClickHouse's own: a transaction of DuckDB is whole or not there. What was decided about calls and is not done.
select token, ids, own, answered
from settlements final
where done = 0
order by token
limit 1
