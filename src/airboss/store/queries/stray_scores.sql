select score
from waiting_scores
where moved_at < $before and record_id not in (select id from pending)
order by id
limit $limit
