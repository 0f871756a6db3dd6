select id
from scores
where id between $first and $last and id in (select unnest($ids::varchar[]))
