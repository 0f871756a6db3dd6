-- ClickHouse's own: as counted_people, where groups have other names at first, or sums of tags hold some of the people. To
-- merge sets costs a third more.
    select {keys}, start, {users} as users, {sessions} as sessions
    from (
        select {names}, start, some_users, some_sessions
        from (
            select {raw}, {step_of_record} as start, {some_users} as some_users, {some_sessions} as some_sessions
            from {everybody}
            where {where} and ($without is null or "key" != $without)
            group by {raw_keys}, start
        )
{people_of_sums}
    )
    group by {keys}, start
