-- What each key spent on each day, where the price was known; not what it only told of. Of some keys by user.
select
    "key",
    if(list_contains($each_user::varchar[], "key"), nullif("user", ''), null) as person,
    cast(started_at as date) as day,
    sum(cost_usd) as usd
from records
where started_at >= $since and cost_usd is not null and arm <> 'external'
group by "key", person, day
order by "key", day, person nulls first
