-- The groups that come first, before their calls are read: by the sums of people (people.sql), or by all calls.
select {groups}, sum(requests)::bigint as requests
from (
{people}
)
where {without} and {where}
group by all
order by {order} desc nulls last, {keys}
limit $limit
