-- DuckDB's own: as top_people.sql, the slowest first. A quantile near the end is among the slowest calls, so that only
-- those above the first of `bars` are looked at, and put in order only above the highest bar that enough groups have
-- their lower neighbour above, and only those of groups that have. A group whose higher neighbour alone is above the
-- bar has at most what it is told here, and comes along as one too many (`sure` is false). Where no more groups are
-- there than are asked for, all of them come.
with told as materialized (
    select
        {groups},
        sum(requests)::bigint as requests,
        sum(answered)::bigint as answered,
        sum(answered) - floor(0.95::double * (sum(answered) - 1)) as needed
    from (
{people}
    )
    where {without} and {where}
    group by all
),
tail as materialized (
    select *
    from (
{latencies}
    )
    where latency_ms > $bars[1]
),
counted as (
    select {keys_of_told}, requests, answered, needed, above
    from told
    left join (select {keys}, [{above}] as above from tail group by all) as heaps on {same_heaps}
),
level as (
    select coalesce(max(place), 1) as level, (select count(*) from told) <= $limit as every
    from (
        select unnest(groups) as groups, unnest(range(1, len(groups) + 1)) as place
        from (select [{enough}] as groups from counted)
    )
    where groups >= $limit
),
near as (
    select counted.*, $bars[level] as bar, every or $bars[level] < 0 as every
    from counted, level
    where every or $bars[level] < 0 or above[level] >= greatest(needed - 1, 1)
),
placed as (
    select {keys_of_tail}, latency_ms, row_number() over (partition by {keys_of_tail} order by latency_ms desc) as place
    from tail
    semi join near on {same_near}
    where latency_ms > (select $bars[level] from level)
),
neighbours as (
    select
        {keys_of_near},
        any_value(requests) as requests,
        any_value(every) as every,
        any_value(bar) as bar,
        any_value(0.95::double * (answered - 1)) as below,
        max(latency_ms) filter (place = answered - ceil(0.95::double * (answered - 1))) as high,
        max(latency_ms) filter (place = answered - floor(0.95::double * (answered - 1))) as low
    from near left join placed on {same_placed}
    group by all
),
slow as (
    select
        {keys}, every, requests, every or low is not null as sure,
        coalesce(low, bar) + (high - coalesce(low, bar)) * (below - floor(below)) as latency
    from neighbours
)
select {keys}, every, sure, requests
from slow
qualify sum(sure::int) over (order by latency desc nulls last, {keys} rows unbounded preceding) - sure::int < $limit
