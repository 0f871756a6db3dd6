-- What the model calls of these traces used, by their records, which have the ids of their spans.
with calls as (
    select id, trace_id
    from spans
    where
        started_at >= $since and started_at < $until
        and trace_id in $traces
        and (kind in ('llm', 'embedding') or gateway)
)

select
    calls.trace_id,
    sum(ifNull(input_tokens, 0)) as input_tokens,
    sum(ifNull(output_tokens, 0)) as output_tokens,
    toFloat64(sumOrNull(cost_usd)) as cost_usd,
    countIf(records.cost_usd is null) as cost_unknown
from records
inner join calls on records.id = calls.id
where
    records.started_at >= $since and records.started_at < $until
    and records.id in (select id from calls)
group by calls.trace_id
