select {columns}
from spans
where trace_id = $trace and span_id = $span
order by id
limit 1
