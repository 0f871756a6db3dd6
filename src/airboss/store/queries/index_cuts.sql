-- DuckDB's own: the texts where two parts of a body meet, of records from $first to before $last.
select concat_ws(' ',
    right(this.request, 64) || left(next.request, 64), right(this.response, 64) || left(next.response, 64))
from bodies as this
join bodies as next on next.seq = this.seq and next.part = this.part + 1
where this.seq >= $first and this.seq < $last and next.part > 0
