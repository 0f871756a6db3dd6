-- DuckDB's own: the words of the bodies of records from $first to before $last. Where two parts of a body meet, the
-- text around the cut is looked at as well.
insert into words
select hash, block
from (
    select distinct (hash(token) & 4294967295)::uinteger as hash, (seq // 1024)::integer as block
    from (
        select seq, unnest(regexp_extract_all({text}, '{token}')) as token
        from (
            select seq, lower(concat_ws(' ', request, response)) as said
            from bodies
            where seq >= $first and seq < $last
            union all
            select this.seq, lower(concat_ws(' ',
                right(this.request, 64) || left(next.request, 64), right(this.response, 64) || left(next.response, 64)))
            from bodies as this
            join bodies as next on next.seq = this.seq and next.part = this.part + 1
            where this.seq >= $first and this.seq < $last and next.part > 0
        )
    )
)
order by hash, block
