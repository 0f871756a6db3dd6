-- Which of these ids are records already, brought by another move.
select id
from records
where id between $first and $last and id in $ids and move != $move
