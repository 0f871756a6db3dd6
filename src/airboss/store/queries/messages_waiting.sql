-- What was said in calls of these traces, which wait for them, and how many bytes each has.
select id, sum(strlen(record))::bigint
from waiting_calls
where id in (
    select id
    from waiting_calls
    where part = 0 and starts_with(record, $said) and trace_id in (select unnest($traces::uuid[]))
)
group by id
order by id
