-- What each key spent on each day, where the price was known; not what it only told of. Of some keys by user.
select
    "key",
    if(has(cast($each_user as Array(String)), "key"), nullif("user", ''), null) as person,
    toDate(started_at) as day,
    sum(cost_usd) as usd
from records
where started_at >= $since and cost_usd is not null and arm != 'external'
group by "key", person, day
order by "key", day, person nulls first
