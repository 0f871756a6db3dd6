-- The oldest first, so that a batch cut short leaves no gap.
select id
from records
where started_at < $before
order by started_at
limit $limit
