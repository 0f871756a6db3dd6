-- Model calls that one move brought, the oldest of those that wait long enough.
select id, trace_id
from waiting_calls final
where
    done = 0
    and moved_at = (
        select min(moved_at)
        from waiting_calls final
        where done = 0 and moved_at < $before
    )
order by id
