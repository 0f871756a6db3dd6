-- What a score repeats of its record.
select id, deployment, release, "key", started_at
from records
where id between $first and $last and id in $ids
