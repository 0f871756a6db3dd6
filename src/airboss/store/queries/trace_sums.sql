-- What the model calls of these traces used, by their records, which have the ids of their spans.
with calls as (
    select id, trace_id
    from spans
    where
        started_at >= $since and started_at < $until
        and trace_id in (select unnest($traces::uuid[]))
        and (kind in ('llm', 'embedding') or gateway)
)

select
    calls.trace_id,
    coalesce(sum(input_tokens), 0)::bigint as input_tokens,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens,
    sum(cost_usd)::double as cost_usd,
    count(*) - count(cost_usd) as cost_unknown
from records
inner join calls on records.id = calls.id
where records.started_at >= $since and records.started_at < $until
group by calls.trace_id
