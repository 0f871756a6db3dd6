-- A record counts once under each name, with the newest value it has; arg_max_null because arg_max would pass
-- over a newer label, whose number is null.
with latest as (
    select
        deployment,
        release,
        name,
        record_id,
        arg_max_null(number, (scored_at, id)) filter (number is not null or label is not null) as number,
        count(*) filter (number is not null or label is not null) as valued,
        arg_max_null(number, (scored_at, id)) filter (
            source = 'scorer' and (number is not null or label is not null)
        ) as judged,
        count(*) filter (source in ('review', 'sample')) as reviews
    from scores
    where {time} >= $since and {time} < $until and ($without is null or "key" <> $without) and {of}
    group by deployment, release, name, record_id
)
select
    deployment,
    release,
    name,
    count(number) as n,
    avg(number) as mean,
    count(*) filter (valued > 0 and number is null) as labelled,
    count(*) filter (valued = 0) as unscored,
    count(judged) as judged,
    avg(judged) as judge_mean,
    var_pop(judged) as judge_variance,
    count(*) filter (reviews > 0) as reviewed
from latest
group by deployment, release, name
order by deployment, release, name
