select id
from scores
where id in $ids
