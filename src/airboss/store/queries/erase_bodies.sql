delete from bodies
where seq in (select seq from records where "user" = $user and started_at <= $before)
