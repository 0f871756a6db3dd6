-- ClickHouse's own: as top_people, the slowest first, by those latencies alone that are above $bar: a quantile near the
-- end is among the slowest calls. Of a group whose higher neighbour alone is above the bar this is the most that it can
-- be (`sure` is 0): it comes along as one too many. Groups that have neither above it are left out.
with slow as (
    select
        {groups},
        sum(requests) as requests,
        arraySort(groupArrayArray(arrayFilter(latency -> latency > $bar, latencies))) as tail,
        0.95 * (sum(answered) - 1) + 1 as place,
        length(tail) - sum(answered) as before,
        before + floor(place) as low,
        before + ceil(place) as high,
        if(low > 0, tail[toInt64(low)], $bar) as below,
        below + (tail[toInt64(high)] - below) * (place - floor(place)) as slowest
    from {people} as theirs
    where ($without is null or "key" != $without) and {where}
    group by {keys}
    having notEmpty(tail) and high > 0
)
select {keys}, low > 0 as sure, requests
from slow
qualify sum(sure) over (order by slowest desc, {keys} rows unbounded preceding) - sure < $limit
