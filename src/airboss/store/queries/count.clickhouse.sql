select count()
from records
where {where}
