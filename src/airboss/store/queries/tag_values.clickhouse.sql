-- The tags of a day's records and how many values each has, about, the fewest first; of very many tags only some.
select tag.1 as name, uniq(tag.2) as values
from records
array join JSONExtractKeysAndValues(tags, 'String') as tag
where toDate(started_at) = $day
group by name
order by values, name
settings max_rows_to_group_by = 1000, group_by_overflow_mode = 'any'
