-- The records of a person that are to be blanked.
select id, started_at
from records
where "user" = $user and started_at <= $before
order by id
