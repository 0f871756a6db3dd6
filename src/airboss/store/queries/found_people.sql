-- DuckDB's own: which sums a question is of, by their place.
    and rowid in (
        select rowid from {table} where start >= $days and start < $days_end and {without} and {where}
    )
