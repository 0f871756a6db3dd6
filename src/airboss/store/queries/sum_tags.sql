-- DuckDB's own: the sums by the day and tags of some records.
select
    date_trunc('day', started_at),
    deployment,
    release,
    arm,
    model,
    provider,
    "key",
    operation,
    status,
    error_type,
    finish_reason,
    tags,
{numbers},
    list(distinct md5_number_lower("user")) filter ("user" is not null),
    list(distinct md5_number_lower(session)) filter (session is not null)
from (
    select *, if(stream, latency_ms - coalesce(ttft_ms, 0), latency_ms) as writing_ms
    from (
{records}
    )
)
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
order by 1, 2, 3, 4, 5, 7, 12
