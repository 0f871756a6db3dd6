select score, "by"
from waiting_scores
where record_id between $first and $last and record_id in (select unnest($ids::varchar[]))
