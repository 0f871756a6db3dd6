-- How many different tags calls have, of 512 calls of each 32,768.
select count(distinct tags)
from records
where seq & 32256 = 0 and started_at >= $since and started_at < $until
