-- How many calls a question is of that sums do not tell.
select count(*)
from records
where started_at >= $since and started_at < $until and ($without is null or "key" <> $without) and {where}
