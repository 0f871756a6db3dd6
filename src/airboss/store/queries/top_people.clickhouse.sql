-- The groups that come first, before their calls are read: of the few columns that say so.
select {groups}, count() as requests
from records
where started_at >= $since and started_at < $until and ($without is null or "key" != $without) and {where}
group by {keys}
order by {order} desc nulls last, {keys}
limit $limit
