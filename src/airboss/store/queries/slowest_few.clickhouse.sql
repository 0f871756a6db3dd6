-- The slowest groups of those with a call as slow as $bar: where as many as are asked for are no faster than that, no
-- group without such a call is slower than they are.
select {groups}, sum(requests) as requests
from {people}
where
    ($without is null or "key" != $without) and {where}
    and (
        {person} is null
        or {person} in (
            select {person}
            from {people}
            where ($without is null or "key" != $without) and {where} and arrayMax(latencies) >= $bar
        )
    )
group by {keys}
having {order} >= $bar
order by {order} desc, {keys}
limit $limit
