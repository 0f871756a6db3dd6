-- DuckDB's own: as top_people.sql, the slowest first, by their calls; how many these are the sums of people say. A
-- quantile near the end is among the slowest calls, so that only those above `tail` are put in order; a group whose
-- lower neighbour is not among these has at most what it is told here, and comes along as one too many (`sure` is
-- false).
with told as (
    select {groups}, sum(requests)::bigint as requests, sum(answered)::bigint as answered
    from (
{people}
    )
    where {without} and {where}
    group by all
),
tail as (
    select *, row_number() over (partition by {keys} order by latency_ms desc) as place
    from (
        select {groups}, latency_ms
        from records
        where started_at >= $since and started_at < $until and {without} and {where}
            and status = 'ok' and latency_ms > $tail
    )
),
near as (
    select
        {keys_of_told},
        any_value(requests) as requests,
        any_value(0.95::double * (answered - 1)) as below,
        max(latency_ms) filter (place = answered - ceil(0.95::double * (answered - 1))) as high,
        max(latency_ms) filter (place = answered - floor(0.95::double * (answered - 1))) as low
    from told left join tail on {same}
    group by all
),
slow as (
    select
        {keys}, requests, $tail < 0 or low is not null as sure,
        coalesce(low, $tail) + (high - coalesce(low, $tail)) * (below - floor(below)) as latency
    from near
)
select {keys}, sure, requests
from slow
qualify sum(sure::int) over (order by latency desc nulls last, {keys} rows unbounded preceding) - sure::int < $limit
