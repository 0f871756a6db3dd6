-- Input tokens that the provider wrote to its cache, and bills apart; unknown of older records.
alter table records add column cache_write_tokens bigint;
