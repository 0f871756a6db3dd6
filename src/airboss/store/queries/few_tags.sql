-- How many different tags calls have, of each 64th call.
select count(distinct tags)
from records
where seq % 64 = 0 and started_at >= $since and started_at < $until
