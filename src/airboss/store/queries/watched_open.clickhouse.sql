select id, opened
from pending final
where done = 0 and id > $after and id < $until
order by id
