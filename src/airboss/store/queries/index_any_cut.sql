-- DuckDB's own: whether a body of records from $first to before $last is kept in parts.
select 1 from bodies where seq >= $first and seq < $last and part > 0 limit 1
