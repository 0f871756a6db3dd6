-- Which words (32 bits of their hash) stand in the bodies of which blocks of 1,024 records, by `seq`; sorted by
-- hash a few blocks at a time, so that looking one up reads a little of each. Made when there is time for it.
create table words (
    hash uinteger not null,
    block integer not null
);

-- The blocks whose words are in; those of another DuckDB are made again, whose hashes may differ.
create table word_blocks (
    block integer not null,
    engine varchar not null
);
