-- DuckDB's own: users or sessions of rolled.sql, each once a group and step, by 64 bits of hash.
    select {keys}, start, count(*) as {of}
    from (
        select {once_more} {names}, start, person
        from (
            select distinct {groups}, {step_of_record} as start, hash({person}) as person
            from {everybody}
            where {person} is not null
        )
    )
    group by all
