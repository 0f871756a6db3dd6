-- Records that are old and still have bodies, the oldest first.
select seq
from records
where started_at < $before and seq in (select seq from bodies)
order by started_at
limit $limit
