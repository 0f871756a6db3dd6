-- Traces by their spans of a period, the newest first. The first span without a parent names a trace.
with found as (
    select
        trace_id,
        min(started_at) as began,
        max(epoch_us(started_at) + duration_ms * 1000) - min(epoch_us(started_at)) as took_us,
        coalesce(
            arg_min(name, started_at) filter (where parent_id is null),
            arg_min(name, started_at)
        ) as name,
        coalesce(
            arg_min(service, started_at) filter (where parent_id is null),
            arg_min(service, started_at)
        ) as service,
        count(*) as spans,
        count(*) filter (where status = 'error') as errors,
        count(*) filter (where kind in ('llm', 'embedding') or gateway) as model_calls,
        max("user") as person,
        max(session) as session
    from spans
    where started_at >= $since and started_at < $until
    group by trace_id
)

select trace_id, began, took_us / 1000, name, service, spans, errors, model_calls, person, session
from found
where {where}
order by began desc, trace_id desc
limit $limit
