-- Calls by who answered them, in steps of $step_us microseconds since the epoch.
select
    deployment,
    release,
    arm,
    fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro(started_at), $step_us) * $step_us, 'UTC') as start,
    count() as requests,
    countIf(status = 'error') as errors,
    countIf(status not in ('cancelled', 'refused')) as counted
from records
where started_at >= $since and started_at < $until
group by deployment, release, arm, start
order by deployment, release, arm, start
