-- Calls by who answered them, in steps of $step_us microseconds since the epoch.
select
    deployment,
    release,
    arm,
    make_timestamp(epoch_us(started_at) // $step_us * $step_us) as start,
    count(*) as requests,
    count(*) filter (status = 'error') as errors,
    count(*) filter (status not in ('cancelled', 'refused')) as counted
from records
where started_at >= $since and started_at < $until
group by deployment, release, arm, start
order by deployment, release, arm, start
