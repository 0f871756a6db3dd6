-- ClickHouse's own: how many calls there are.
select sum(requests) from rollups where width = 60 and start >= $minutes and start < $minutes_end
