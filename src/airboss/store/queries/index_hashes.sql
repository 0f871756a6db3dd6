-- DuckDB's own: notes for a block which words these texts, words with spaces between, have.
insert into fresh
select hash, $block
from (
    select distinct (hash(token) & 4294967295)::uinteger as hash
    from (select unnest(string_split(text, ' ')) as token from (select unnest($texts::varchar[]) as text))
)
