-- DuckDB's own: the sums of rolled.sql, by the hour and the minute.
        select * from rollups where width = 3600 and start >= $hours and start < $hours_end
        union all
        select * from rollups where width = 60 and start >= $minutes and start < $hours
        union all
        select * from rollups where width = 60 and start >= $hours_end and start < $minutes_end
