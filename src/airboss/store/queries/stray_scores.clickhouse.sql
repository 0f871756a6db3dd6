select score
from waiting_scores final
where
    done = 0
    and moved_at < $before
    and record_id not in (select id from pending final where done = 0)
order by id
limit $limit
