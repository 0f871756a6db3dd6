-- DuckDB's own: the sums of a stretch of records by each width. ClickHouse makes its own (summing) of every insert.
insert into rollups
with stretch as (
    select
        *,
        if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from records
    where seq >= $first and seq < $last
),
told as (
    select model, "key" from stretch group by all order by count(*) desc, model, "key" limit $told
)
select
    width,
    make_timestamp((epoch_us(started_at) // 1000000) // width * width * 1000000),
    deployment,
    release,
    arm,
    if(told.model is null, null, stretch.model) as named_model,
    provider,
    if(told.model is null, null, stretch."key") as named_key,
    operation,
    status,
    error_type,
    finish_reason,
{numbers}
from stretch
cross join (select unnest($widths::integer[]) as width)
left join told on told.model = stretch.model and told."key" = stretch."key"
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
order by 1, 2, 3, 4, 5, 6, 8
