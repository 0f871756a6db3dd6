-- An answer in which nothing was written, as of embeddings, has no rate: in `rates` and `rated` of what is inserted from here on.
alter table rolled_up{cluster} modify query
{roll_up};

alter table users_summed{cluster} modify query
{sum_users};

alter table sessions_summed{cluster} modify query
{sum_sessions};
