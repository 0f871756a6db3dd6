-- ClickHouse's own: how many calls a question is of that only sums of people tell.
select sum(requests)
from {people}
where ($without is null or "key" != $without) and {where}
