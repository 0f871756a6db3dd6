select id, count(*)
from pending
where id in (select unnest($ids::varchar[]))
group by id
order by id
