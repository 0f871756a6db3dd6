-- What each key spent on each day, where the price was known; not what it only told of.
select
    "key",
    toDate(started_at) as day,
    sum(cost_usd) as usd
from records
where started_at >= $since and cost_usd is not null and arm != 'external'
group by "key", day
order by "key", day
