-- DuckDB's own: the texts of the bodies of records from $first to before $last.
select concat_ws(' ', request, response)
from bodies
where seq >= $first and seq < $last and seq not in (
    select seq
    from bodies -- what is sealed has no words
    where
        seq >= $first and seq < $last and part = 0
        and (starts_with(request, '{"airboss_sealed":') or starts_with(response, '{"airboss_sealed":'))
)
