-- DuckDB's own: as top_people.sql, of groups that are very many. They are added up by 64 bits of hash, in half of the
-- time that long names take; named are those alone that have as much as the last that is asked for.
with added_up as materialized (
    select hash({columns}) as place, sum(requests)::bigint as requests, {order} as most
    from (
{people}
    )
    where {without} and {where}
    group by all
),
bar as (
    select (select most from added_up order by most desc nulls last limit 1 offset $limit - 1) as most
),
near as materialized (
    select added_up.*
    from added_up, bar
    where coalesce(added_up.most >= bar.most, bar.most is null)
),
named as (
    select distinct {groups}, hash({columns}) as place
    from (
{people}
    )
    where {without} and {where} and hash({columns}) in (select place from near)
)
select {keys}, requests
from near join named using (place)
order by most desc nulls last, {keys}
limit $limit
