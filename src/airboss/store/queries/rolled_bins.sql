-- DuckDB's own: one histogram of rolled.sql, by bin.
    select place, {at} as of_what, unnest(map_keys({name})) as bin, unnest(map_values({name})) as n
    from summed where status = 'ok'
    union all
    select hash({keys}, start), {at}, bin, n
    from (
        select {names}, start, bin, n
        from (
            select {keys}, start, {bin} as bin, count(*) as n
            from scanned where status = 'ok' and {column} is not null
            group by all
        )
    )
