-- DuckDB's own: what calls are summed up to in rollups and in the sums of tags. Histograms are made of lists: a histogram of
-- rows DuckDB 2 makes by grouping all of them once more and joining what it counted, which took twice as long.
    count(*),
    coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0),
    sum(cost_usd),
    count(cost_usd),
    coalesce(sum(output_tokens / writing_ms * 1000) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1), 0),
    count(output_tokens) filter (status = 'ok' and output_tokens > 0 and writing_ms >= 1),
    count(ttft_ms) filter (status = 'ok'),
    min(started_at),
    max(started_at),
    list_aggregate(list({latency}) filter (status = 'ok'), 'histogram')::map(smallint, uinteger),
    list_aggregate(list({ttft}) filter (status = 'ok' and ttft_ms is not null), 'histogram')::map(smallint, uinteger),
    list_aggregate(list({cost}) filter (status = 'ok' and cost_usd is not null), 'histogram')::map(smallint, uinteger)
