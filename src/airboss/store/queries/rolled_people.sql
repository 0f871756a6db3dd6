-- DuckDB's own: users or sessions of rolled.sql, each once a group and step, by 64 bits of hash of both.
    select place, count(*) as {of}
    from (
        select distinct hash({keys}, start) as place, person
        from (
            select {names}, start, person
            from (
                select {once_before} {groups}, {step_of_record} as start, hash({person}) as person
                from {everybody}
                where {person} is not null
            )
        )
    )
    group by place
