-- Which model calls that spans tell of were decided to be calls of their own, until that is done. `done` as in
-- `pending`.
create table if not exists settlements{cluster} (
    token String,
    ids Array(String),
    own Array(String), -- those of them that become records
    answered Array(String), -- those that are calls of the gateway by what the answer is called
    done UInt8
) engine = {replicated}ReplacingMergeTree(done)
order by token
settings {window} = 10000;
