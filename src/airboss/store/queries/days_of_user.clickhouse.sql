-- ClickHouse's own: the days whose sums of people tell of a person, or of calls in their traces.
select distinct toDate(started_at) as day
from records
where started_at <= $before and ("user" = $user or id in ({traced}))
order by day
