-- DuckDB's own: the first of these records that began after a day.
select min(seq)
from records
where seq >= $least and seq < $most and started_at >= $day_end
