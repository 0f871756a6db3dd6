-- Calls of the gateway that came without a trace and whose answers have no name: embeddings, and those that failed.
started_at >= $since and started_at <= $until
and arm <> 'external' and trace_id is null
and key in (select unnest($keys::varchar[]))
and (operation = 'embeddings' or status in ('error', 'refused'))
