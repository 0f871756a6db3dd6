-- ClickHouse's own: whole days before a moment, the oldest first, which go as partitions.
select toDate(started_at) as day, count()
from {table}
where started_at < toStartOfDay($before)
group by day
order by day
