-- ClickHouse's own: how slow the slowest calls of so many sums are, and how many people the sums tell apart, about.
select
    min(slowest),
    (select uniq({person}) from {people} where ($without is null or "key" != $without) and {where})
from (
    select arrayMax(latencies) as slowest
    from {people}
    where ($without is null or "key" != $without) and {where}
    order by slowest desc
    limit $many
)
