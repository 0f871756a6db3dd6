-- The first parts are enough: what is known at a call's start stands before its body.
select id, part, opened
from pending
where id > $after and id < $until and part < 4
order by id, part
