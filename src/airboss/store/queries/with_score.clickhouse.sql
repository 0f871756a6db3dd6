id in (
    select record_id
    from (
        select record_id, argMax((number, label), (scored_at, id)) as newest
        from scores
        where name = $score_name and source in ({said_by}) and (number is not null or label is not null)
        group by record_id
    )
    where {holds}
)
