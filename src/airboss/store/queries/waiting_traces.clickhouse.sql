-- ClickHouse's own: there a move is settled by what was decided of its calls, their ids alone.
select distinct trace_id
from waiting_calls final
where done = 0 and not startsWith(record, $said) and id in $ids
