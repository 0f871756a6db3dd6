-- ClickHouse's own: the days of a period whose sums by tag are of all calls that are there, and tell these tags.
select toString(day), empty(untold)
from (
    select toDate(start) as day, sum(requests) as summed, any(untold) as untold
    from tag_sums
    where start >= $days and start < $days_end
    group by day
) as sums
join (
    select toDate(started_at) as day, count() as calls
    from records
    where toDate(started_at) >= toDate($days) and toDate(started_at) < toDate($days_end)
    group by day
) as kept using (day)
where summed = calls and not hasAny(untold, $tags)
order by day
