-- DuckDB's own: the groups that come first, before their calls are read. ClickHouse's is top_people.clickhouse.sql.
select {groups}, sum(requests)::bigint as requests
from (
{people}
)
where {without} and {where}
group by all
order by {order} desc nulls last, {keys}
limit $limit
