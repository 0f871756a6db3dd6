-- The range lets whole row groups be skipped: ids grow with time, and so, nearly, do rows.
select id, record_id, name, source, "by", scored_at, number, yes_or_no, label, unscored, comment, "user"
from scores
where record_id between $first and $last and record_id in (select unnest($ids::varchar[]))
order by scored_at, id
