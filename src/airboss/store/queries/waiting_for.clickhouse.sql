select id, score
from waiting_scores final
where done = 0 and record_id in $ids
