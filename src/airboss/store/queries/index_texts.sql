-- DuckDB's own: the texts of the bodies of records from $first to before $last. Where two parts of a body meet, the
-- text around the cut is there as well. ASCII is as it came.
select case when strlen(said) = length(said) then said else lower(said) end as said
from (
    select concat_ws(' ', request, response) as said
    from bodies
    where seq >= $first and seq < $last
    union all
    select concat_ws(' ',
        right(this.request, 64) || left(next.request, 64), right(this.response, 64) || left(next.response, 64)) as said
    from bodies as this
    join bodies as next on next.seq = this.seq and next.part = this.part + 1
    where this.seq >= $first and this.seq < $last and next.part > 0
)
