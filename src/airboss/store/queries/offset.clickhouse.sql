-- ClickHouse's own: what is known of a segment; DuckDB has that in one row.
select taken, begun, gone, version
from offsets
where segment = $segment
order by version desc
limit 1
