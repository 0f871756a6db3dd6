-- Which of these ids are spans already, brought by another move.
select id
from spans
where id between $first and $last and id in $ids and move != $move
