-- Calls of the gateway that began in a period, by what these answers in their bodies are called.
with calls as (
    select *
    from records
    where
        started_at >= $since and started_at <= $until
        and arm <> 'external' and operation <> 'embeddings' -- whose answers have no name
    order by started_at
    limit $limit
), answers as (
    select seq, unnest(regexp_extract_all(response, '"id"\s*:\s*"([^"\\]+)"', 1)) as answer_id
    from bodies
    where
        seq between (select min(seq) from calls) and (select max(seq) from calls)
        and seq in (select seq from calls)
        and part < 4 -- the name comes first or, of a shorter answer, last
)
select distinct {columns}
from answers join calls using (seq)
where answer_id in (select unnest($answers::varchar[]))
