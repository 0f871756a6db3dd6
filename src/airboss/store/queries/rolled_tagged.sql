-- DuckDB's own: as rolled_people.sql, from the sums of tags and the records that are in none.
    select place, count(*) as {of}
    from (
        select place, unnest({of}) as person
        from (
            select hash({keys}, start) as place, {of}  -- not of each person
            from (
                select {groups_of_sums}, {step_of_sums} as start, {of}
                from tag_sums
                where {days} and ($without is null or "key" <> $without) and {where}
            )
        )
        union
        select hash({keys}, start), hash(person)
        from (
            select {names}, start, {person} as person
            from (select distinct {keys}, start, {person} from scanned where {person} is not null)
        )
    )
    group by place
