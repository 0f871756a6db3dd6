-- Numbers and costs stay, so that sums hold.
update records
set "user" = null, session = null, tags = '{}'
where "user" = $user and started_at <= $before
