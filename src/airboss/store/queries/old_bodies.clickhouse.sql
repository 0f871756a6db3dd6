select id
from bodies
where started_at < $before
order by started_at
limit $limit
