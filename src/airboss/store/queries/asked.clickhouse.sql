started_at between $since and $until
and arm != 'external' and trace_id is null
and "key" in $keys
and (operation = 'embeddings' or status in ('error', 'refused') or input_tokens in $tokens)
