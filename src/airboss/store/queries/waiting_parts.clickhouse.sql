-- ClickHouse's own: DuckDB has parts to count. How much waits, in parts of so many bytes.
select sum(1 + intDiv(length(record), $part))
from waiting_calls final
where done = 0
