-- ClickHouse's own: how many calls there are.
select sum(requests) from rollups where {in_sums}
