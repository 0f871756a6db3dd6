-- ClickHouse's own: whole days of sums before a moment, the oldest first, which go as partitions.
select distinct toDate(start) as day from rollups where start < toStartOfDay($before) order by day
