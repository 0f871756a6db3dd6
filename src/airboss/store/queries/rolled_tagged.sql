-- DuckDB's own: as rolled_people.sql, from the sums of tags and the records that are in none.
        select {keys}, start, unnest({list}) as {person}
        from (
            select {groups_of_sums}, {step_of_sums} as start, {list}
            from tag_sums
            where {days} and ($without is null or "key" <> $without) and {where}
        )
        union
        select {names}, start, md5_number_lower({person})
        from (select distinct {keys}, start, {person} from scanned where {person} is not null)
