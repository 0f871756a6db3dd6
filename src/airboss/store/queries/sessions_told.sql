-- DuckDB's own: how many sessions there are, about, by what is known of the column and not by a look into it.
select stats(session).approx_unique from session_sums limit 1
