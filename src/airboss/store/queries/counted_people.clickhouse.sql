-- ClickHouse's own: how many people made a question's calls, by group and step.
    select {groups}, {step_of_record} as start, {users} as users, {sessions} as sessions
    from {everybody}
    where {where} and ($without is null or "key" != $without)
    group by {keys}, start
