select {columns}
from spans
where id between $first and $last and id in (select unnest($ids::varchar[]))
