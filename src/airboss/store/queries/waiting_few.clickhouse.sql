-- ClickHouse's own: whether much waits; DuckDB's is short enough to stand where it is used.
select record_id
from waiting_scores final
where done = 0
limit $limit
