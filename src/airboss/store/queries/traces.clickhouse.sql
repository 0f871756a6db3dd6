-- Traces by their spans of a period, the newest first. The first span without a parent names a trace.
select
    trace_id,
    began,
    took_us / 1000,
    if(roots > 0, root_name, any_name),
    if(roots > 0, root_service, any_service) as service_,
    spans_,
    errors,
    model_calls,
    person,
    session_
from (
    select
        trace_id,
        min(started_at) as began,
        max(toUnixTimestamp64Micro(started_at) + duration_ms * 1000) - toUnixTimestamp64Micro(began) as took_us,
        countIf(parent_id is null) as roots,
        argMinIf(name, started_at, parent_id is null) as root_name,
        argMin(name, started_at) as any_name,
        argMinIf(service, started_at, parent_id is null) as root_service,
        argMin(service, started_at) as any_service,
        count() as spans_,
        countIf(status = 'error') as errors,
        countIf(kind in ('llm', 'embedding') or gateway) as model_calls,
        max("user") as person,
        max(session) as session_
    from spans
    where started_at >= $since and started_at < $until
    group by trace_id
)
where {where}
order by began desc, trace_id desc
limit $limit
