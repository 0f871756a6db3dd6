-- Which of these ids are records already; the range skips almost all row groups.
select id
from records
where id between $first and $last and id in (select unnest($ids::varchar[]))
