-- Model calls, and messages of such, that one move brought, the oldest of those that wait long enough.
select id, trace_id, startsWith(record, $said)
from waiting_calls final
where
    done = 0
    and moved_at = (
        select min(moved_at)
        from waiting_calls final
        where done = 0 and moved_at < $before
    )
order by id
