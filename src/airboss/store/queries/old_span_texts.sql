select id
from spans
where started_at < $before and (attributes is not null or events is not null)
order by started_at
limit $limit
