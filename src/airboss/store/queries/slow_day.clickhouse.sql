-- ClickHouse's own: above which latency one call in twenty is, of a period's last whole day.
select quantileExactArray(0.95)(latencies)
from {people}
where start >= $last_day and start < $days_end and ($without is null or "key" != $without) and {where}
