-- ClickHouse's own: whether a move is half made, its newest row says.
select segment
from offsets final
where begun != 0
limit 1
