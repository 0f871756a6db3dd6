select {columns}
from records
where {where}
order by {order}
limit $limit
