select id
from spans
where started_at < $before
order by started_at
limit $limit
