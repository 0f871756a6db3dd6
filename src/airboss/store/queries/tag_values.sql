-- DuckDB's own: the tags of a stretch of records and how many values each has, about, the fewest first.
select tag.key as name, approx_count_distinct(tag.value) as values_
from (
    select unnest(map_entries(tags::json::map(varchar, varchar))) as tag
    from (select distinct tags from records where seq >= $first and seq < $last)
)
group by all
order by values_, name
