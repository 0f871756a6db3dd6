select id, started_at, release, arm, plan, "user", session, status, error_type, latency_ms, ttft_ms, cost_usd
from records
where deployment = $deployment and id > $after and id < $until and "key" != $without_key
    and ifNull(cache, '') not in ('hit', 'semantic', 'known') -- nobody was asked for it on one arm
order by id
limit $limit
