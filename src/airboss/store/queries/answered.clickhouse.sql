-- Calls of the gateway that began in a period, by what these answers in their bodies are called.
select distinct {columns}
from (
    select id, arrayJoin(arrayIntersect(extractAll(response, '"id"\\s*:\\s*"([^"\\\\]+)"'), $answers)) as answer_id
    from bodies
    where started_at between $since and $until
) as answers
join (
    select *
    from records
    where started_at between $since and $until and arm != 'external' and operation != 'embeddings'
    order by started_at
    limit $limit
) as calls on calls.id = answers.id
