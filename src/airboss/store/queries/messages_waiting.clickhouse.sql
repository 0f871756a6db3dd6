select id, length(record)
from waiting_calls final
where done = 0 and startsWith(record, $said) and trace_id in $traces
order by id
