select id, opened
from pending final
where done = 0 and startsWith(segment, $prefix)
order by id
limit $limit
