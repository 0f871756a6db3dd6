-- DuckDB's own: records with those of their tags alone that their sums tell; without those that are in no sum.
select records.* replace (
    if(
        untold.names is null,
        records.tags,
        to_json(
            map_from_entries(
                list_filter(
                    map_entries(records.tags::json::map(varchar, varchar)),
                    lambda tag: not list_contains(untold.names, tag.key)
                )
            )
        )::varchar
    ) as tags
)
from (
{records}
) as records
left join (
    select first, last, list(name) as names, bool_or(name is null) as every_one from untold_tags group by all
) as untold
on records.seq >= untold.first and records.seq < untold.last
where not coalesce(untold.every_one, false)
