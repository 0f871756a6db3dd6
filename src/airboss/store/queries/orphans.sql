select id, count(*)
from pending
where starts_with(segment, $prefix)
group by id
order by id
limit $limit
