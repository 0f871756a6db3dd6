select id, record_id, name, source, "by", scored_at, number, yes_or_no, label, unscored, comment, "user"
from scores
where record_id between $first and $last and record_id in $ids
order by scored_at, id
