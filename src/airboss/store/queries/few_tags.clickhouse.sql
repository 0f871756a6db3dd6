-- How many different tags calls have, about, of each 64th call.
select uniq(tags)
from records
where seq % 64 = 0 and started_at >= $since and started_at < $until
