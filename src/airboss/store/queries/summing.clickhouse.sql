-- ClickHouse's own: the sums of an insert into records, or of all of them.
select
    width,
    toDateTime(intDiv(toUnixTimestamp(started_at), width) * width, 'UTC') as start,
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
{numbers}
from records
array join [60, 3600] as width
group by width, start, deployment, release, arm, model, provider, "key", operation, status, error_type, finish_reason
