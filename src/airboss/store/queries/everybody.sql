-- DuckDB's own: whose calls a question is of, by people.sql.
select *
from (
{people}
)
where {without} and {where}
