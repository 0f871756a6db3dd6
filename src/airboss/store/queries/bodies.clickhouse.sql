select id, request, response
from bodies
where started_at between $since and $until and id between $first and $last and id in $ids
