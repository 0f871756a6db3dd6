-- DuckDB's own: the texts of the bodies of records from $first to before $last. ASCII is as it came.
select case when strlen(said) = length(said) then said else lower(said) end as said
from (
    select concat_ws(' ', request, response) as said
    from bodies
    where seq >= $first and seq < $last
)
