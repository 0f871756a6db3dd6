-- Records of a stretch whose bodies may hold what is looked for, the last first; those in parts may, whatever they
-- hold.
select seq
from records
where {where} and seq >= $first and seq < $last and seq in (
    select seq
    from (select seq, part, lower(concat_ws(' ', request, response)) as said from bodies where seq >= $first and seq < $last)
    where part > 0 or ({holds})
)
order by seq desc
