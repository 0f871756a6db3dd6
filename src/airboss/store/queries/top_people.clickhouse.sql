-- The groups that come first, before their calls are read: by the sums of people, or by the few columns of all calls.
select {groups}, {requests} as requests
from {people}
where {times} and ($without is null or "key" != $without) and {where}
group by {keys}
order by {order} desc nulls last, {keys}
limit $limit
