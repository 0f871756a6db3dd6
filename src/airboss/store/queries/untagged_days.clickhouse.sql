-- ClickHouse's own: the days whose sums by tag are not of all calls that are there, the newest first.
select toString(day), calls
from (
    select toDate(started_at) as day, count() as calls
    from records
    where toDate(started_at) >= toDate($since) and toDate(started_at) < toDate($until)
    group by day
) as kept
left join (
    select toDate(start) as day, sum(requests) as summed from tag_sums group by day
) as sums using (day)
where summed != calls
order by day desc
