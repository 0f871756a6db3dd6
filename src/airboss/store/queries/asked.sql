-- Calls of the gateway that came without a trace: those whose answers have no name (embeddings, and those that failed),
-- and answered ones of so many tokens, of clients that do not tell names.
started_at >= $since and started_at <= $until
and arm <> 'external' and trace_id is null
and key in (select unnest($keys::varchar[]))
and (operation = 'embeddings' or status in ('error', 'refused') or input_tokens in (select unnest($tokens::bigint[])))
