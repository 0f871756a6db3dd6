select id
from spans
where started_at < $before and (attributes != '' or events != '')
order by started_at
limit $limit
