-- ClickHouse's own: whose calls they were, from the sums of tags.
union all
select {groups_of_sums}, {step_of_sums} as start, {users} as some_users, {sessions} as some_sessions
from {sums} as sums
where {where} and ($without is null or "key" != $without) and ({in_sums})
