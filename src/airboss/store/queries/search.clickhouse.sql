-- Records whose bodies may hold what is looked for, the last first.
select seq, id, request, response
from (
    select seq, id
    from records
    where {where} and seq < $below
) as these
join (
    select id, request, response
    from bodies
    where {time} and {holds}
) as said using (id)
order by seq desc
limit $limit
