-- What each key spent on each day, where the price was known.
select
    "key",
    toDate(started_at) as day,
    sum(cost_usd) as usd
from records
where started_at >= $since and cost_usd is not null
group by "key", day
order by "key", day
