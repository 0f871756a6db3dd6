-- DuckDB's own: the slowest groups of those with a call as slow as $bar: where as many as are asked for are no faster
-- than that, no group without such a call is slower than they are.
with near as materialized (
    select hash({columns}) as place
    from (
{people}
    )
    where latencies[1] >= $bar and {without} and {where}
),
slow as (
    select {keys}, sum(requests)::bigint as requests, quantile_cont(latency_ms, 0.95) as latency
    from (
        select {keys}, if(place = 1, requests, 0) as requests, latency_ms
        from (
            select {groups}, requests, unnest(latencies) as latency_ms, generate_subscripts(latencies, 1) as place
            from (
{found}
            )
            where {without} and {near}
        )
    )
    group by all
)
select {keys}, requests
from slow
where latency >= $bar
order by latency desc, {keys}
limit $limit
