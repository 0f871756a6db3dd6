-- Which of these files have been run.
create table if not exists schema_migrations{cluster} (
    number Int32,
    name String,
    applied_at DateTime64(6, 'UTC')
) engine = {replicated}MergeTree order by number;
