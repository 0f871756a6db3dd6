-- DuckDB's own: the blocks, among those from $first to $last, that hold all of these words.
select block
from words
where
    block between $first and $last
    and hash in (select (hash(token) & 4294967295)::uinteger from (select unnest($tokens::varchar[]) as token))
group by block
having count(*) = $count
