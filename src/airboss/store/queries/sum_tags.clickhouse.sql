-- The sums by the day and tags of some records.
select
    toDateTime(toStartOfDay(started_at), 'UTC') as start,
    {apart},
    {numbers},
    uniqExactState(cityHash64("user")) as users,
    uniqExactState(cityHash64(session)) as sessions,
    {untold} as untold
from ({records}) as records
group by start, {apart}
