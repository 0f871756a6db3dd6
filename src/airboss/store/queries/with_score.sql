id in (
    select record_id
    from (
        select
            record_id,
            arg_max_null(number, (scored_at, id)) as number,
            arg_max_null(label, (scored_at, id)) as label
        from scores
        where name = $score_name and source in ({said_by}) and (number is not null or label is not null)
        group by record_id
    )
    where {holds}
)
