-- Parts in any order, as in bodies.sql.
select id, part, opened
from pending
where id in (select unnest($ids::varchar[]))
