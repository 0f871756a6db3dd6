-- The oldest messages that wait for a call, so many of them.
delete from waiting_calls
where id in (
    select id
    from waiting_calls
    where part = 0 and starts_with(record, $said)
    order by moved_at, id
    limit $limit
)
