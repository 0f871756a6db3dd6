-- What was said in calls of these traces, which wait for them.
select id
from waiting_calls
where part = 0 and starts_with(record, $said) and trace_id in (select unnest($traces::uuid[]))
order by id
