select id, opened
from pending final
where done = 0 and id in $ids
