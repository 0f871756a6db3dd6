-- A record counts once under each name, with the newest value it has; a tuple, because argMax passes over nulls.
with latest as (
    select
        deployment,
        release,
        name,
        record_id,
        argMaxIf(tuple(number), (scored_at, id), number is not null or label is not null).1 as newest,
        countIf(number is not null or label is not null) as valued,
        argMaxIf(
            tuple(number), (scored_at, id), source = 'scorer' and (number is not null or label is not null)
        ).1 as judge,
        countIf(source in ('review', 'sample')) as reviews
    from scores
    where {time} >= $since and {time} < $until and ($without is null or "key" != $without) and {of}
    group by deployment, release, name, record_id
)
select
    deployment,
    release,
    name,
    countIf(valued > 0 and newest is not null) as n,
    avgIf(newest, valued > 0) as mean,
    countIf(valued > 0 and newest is null) as labelled,
    countIf(valued = 0) as unscored,
    count(judge) as judged,
    avg(judge) as judge_mean,
    varPop(judge) as judge_variance,
    countIf(reviews > 0) as reviewed
from latest
group by deployment, release, name
order by deployment, release, name
